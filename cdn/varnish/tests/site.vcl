# The site of the cases: one origin, s1. Clients see how long an object is kept and how often it was hit.
acl fs_tiers {
    "192.0.2.1";
}
acl fs_purgers {
    "127.0.0.1";
}
sub fs_stream_backend {
    set bereq.backend = s1;
}
sub fs_document_backend {
    set bereq.backend = s1;
}
sub fs_unversioned_ttl {
    set beresp.ttl = 1s;
}
sub fs_site {
}
sub vcl_deliver {
    set resp.http.T-Ttl = obj.ttl;
    set resp.http.T-Hits = obj.hits;
}
