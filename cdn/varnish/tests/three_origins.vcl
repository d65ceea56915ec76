# The site of the cases of failure: s1, for a second try s2, for a third s3, which stands for the waiting room.
# Where a key says so, nobody listens.
acl fs_tiers {
    "192.0.2.1";
}
acl fs_purgers {
    "192.0.2.1";
}
sub fs_stream_backend {
    call fs_document_backend;
    if (bereq.retries > 1) {
        set bereq.backend = s3;
    }
    if (bereq.url ~ "/none/" || (bereq.url ~ "/first-gone/" && bereq.retries == 0)) {
        set bereq.backend = none;
    }
}
sub fs_document_backend {
    set bereq.backend = s1;
    if (bereq.retries > 0) {
        set bereq.backend = s2;
    }
    if (bereq.http.X-Environment-Key == "none") {
        set bereq.backend = none;
    }
}
sub fs_unversioned_ttl {
    set beresp.ttl = 1s;
}
sub fs_site {
}
sub vcl_deliver {
    set resp.http.T-Ttl = obj.ttl;
}
