# The rules of the edge. Nothing here depends on the site; site.vcl defines fs_tiers, fs_purgers, fs_site,
# fs_stream_backend, fs_document_backend and fs_unversioned_ttl. README.md says what each rule prevents.

import std;

sub vcl_recv {
    # Names that our own subroutines use between each other; a client must not set them.
    if (req.restarts == 0) {
        unset req.http.X-Fs-Kind;
        unset req.http.X-Fs-Older-Than;
        unset req.http.X-Fs-Version;
        unset req.http.X-Fs-Methods;
        unset req.http.X-Fs-Keep-Unversioned;
        unset req.http.X-Fs-Draining;
    }
    if (req.http.X-Environment-Key) {
        # Not to be taken out on the way by a client's `Connection: X-Environment-Key`: everybody with that key would
        # share the refusal.
        set req.http.X-Environment-Key = req.http.X-Environment-Key;
    }
    call fs_site;

    if (req.method == "PURGE") {
        call fs_purge;
    }

    # Nothing that only one client says may reach a response that others share, nor split the cache.
    unset req.http.Cookie;
    unset req.http.Range;
    unset req.http.Cache-Control;
    unset req.http.Pragma;
    unset req.http.Expect;
    unset req.http.Surrogate-Key;
    set req.http.Host = "flagstream";

    call fs_classify;
    call fs_check_method;

    if (req.http.X-Fs-Kind == "pass") {
        return (pass);
    }
    unset req.http.Authorization;
    unset req.http.Origin;
    unset req.http.Referer;
    unset req.http.User-Agent;
    unset req.http.X-Forwarded-For;
    unset req.http.Forwarded;
    unset req.http.Accept;
    unset req.http.Accept-Language;
    unset req.http.TE;
    if (req.http.X-Fs-Older-Than) {
        # Second round of the guard in vcl_deliver: only an object younger than the finished one is a hit. Everything
        # else is a miss, and misses of one key collapse; those of hash_always_miss do not.
        set req.ttl = std.duration(req.http.X-Fs-Older-Than + "s", 1s);
    }
    return (hash);
}

# Sorts a request by its path, and folds what means the same into one URL, which is the key.
sub fs_classify {
    if (req.url ~ "^//?sse/(environments/)?[A-Za-z0-9_-]{1,128}/stream/?(\?.*)?$") {
        set req.http.X-Fs-Kind = "stream";
        set req.url = regsub(req.url, "^//?sse/(?:environments/)?([^/?]+)/stream/?(?:\?.*)?$", "/sse/environments/\1/stream");
    } else if (req.url ~ "^//?sse/(environments/)?[^?]*/stream/?(\?.*)?$") {
        # No environment can have such a key. A quick error would send published SDKs into a loop, so all of these
        # share one idle stream: the stream server takes "!" for no key.
        set req.http.X-Fs-Kind = "stream";
        set req.url = "/sse/environments/!/stream";
    } else if (req.url ~ "^/api/v1/(flags|environment-document)/?(\?.*)?$") {
        call fs_classify_document;
    } else if (req.url ~ "^/api/v1/identities/?(\?.*)?$") {
        set req.http.X-Fs-Kind = "pass";
        set req.http.X-Fs-Methods = "GET, HEAD, POST, OPTIONS";
    } else if (req.url ~ "^/api/v1/analytics/flags/?(\?.*)?$" || req.url ~ "^/ofrep/v1/evaluate/flags(/[^/?]+)?/?(\?.*)?$") {
        set req.http.X-Fs-Kind = "pass";
        set req.http.X-Fs-Methods = "POST, OPTIONS";
    } else if (req.url ~ "^/health(/readiness|/liveness)?/?(\?.*)?$") {
        return (synth(701));
    } else {
        return (synth(404));
    }

    if (req.http.X-Fs-Kind == "stream") {
        unset req.http.X-Environment-Key;
        unset req.http.Accept-Encoding;
        unset req.http.If-None-Match;
        unset req.http.If-Modified-Since;
        unset req.http.Last-Event-ID;
    }
    if (req.http.X-Fs-Kind != "pass") {
        set req.http.X-Fs-Methods = "GET, HEAD, OPTIONS";
    }
}

# A document is kept when its URL names its version. Without one it is old as soon as something changes.
sub fs_classify_document {
    set req.http.X-Fs-Kind = "pass";
    set req.http.X-Fs-Methods = "GET, HEAD, OPTIONS";
    if (req.url ~ "[?&]feature=" || !req.http.X-Environment-Key) {
        return;
    }
    if (req.url ~ "^[^?]*\?(.*&)?v=[0-9]{1,17}(&|$)") {
        set req.http.X-Fs-Version = regsub(req.url, "^[^?]*\?(?:.*&)?v=([0-9]{1,17})(?:&.*)?$", "\1");
        set req.url = regsub(req.url, "/?\?.*$", "") + "/?v=" + req.http.X-Fs-Version;
        set req.http.X-Fs-Kind = "document";
    } else if (req.http.X-Fs-Keep-Unversioned && req.url !~ "[?&]v=") {
        set req.url = regsub(req.url, "/?(\?.*)?$", "") + "/";
        set req.http.X-Fs-Kind = "document";
    }
}

sub fs_check_method {
    if (req.method == "OPTIONS") {
        return (synth(204));
    }
    if (req.method == "HEAD" && req.http.X-Fs-Kind == "stream") {
        # Answered here: it would open a stream at the origin that nobody reads.
        return (synth(703));
    }
    if (req.method == "GET" || req.method == "HEAD") {
        if (req.http.X-Fs-Methods ~ "GET") {
            return;
        }
    } else if (req.method == "POST" && req.http.X-Fs-Methods ~ "POST") {
        return;
    }
    return (synth(405));
}

# PURGE with the name of what is old in Surrogate-Key; the publisher sends it before it announces a change.
sub fs_purge {
    if (client.ip !~ fs_purgers) {
        return (synth(403, "Forbidden"));
    }
    if (req.http.Surrogate-Key !~ "^(stream|document)-[0-9a-f]{16}$") {
        return (synth(400, "Bad Request"));
    }
    if (!std.ban("obj.http.Surrogate-Key == " + req.http.Surrogate-Key)) {
        return (synth(500, "Not Purged"));
    }
    return (synth(200, "Purged"));
}

sub vcl_hash {
    hash_data(req.url);
    if (req.http.X-Environment-Key) {
        hash_data(req.http.X-Environment-Key);
    }
    return (lookup);
}

sub vcl_backend_fetch {
    unset bereq.http.X-Fs-Kind;
    unset bereq.http.X-Fs-Methods;
    unset bereq.http.X-Fs-Older-Than;
    unset bereq.http.X-Fs-Version;
    unset bereq.http.X-Fs-Draining;
    unset bereq.http.X-Fs-Keep-Unversioned;
    if (bereq.url ~ "^/sse/") {
        # Varnish asks for gzip by itself, and a compressor in between would hold events back.
        unset bereq.http.Accept-Encoding;
        call fs_stream_backend;
    } else {
        call fs_document_backend;
    }
    return (fetch);
}

sub vcl_backend_response {
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    unset beresp.http.Set-Cookie;
    unset beresp.http.Vary;
    if (bereq.url ~ "^/sse/") {
        call fs_stream_response;
    } else if (!bereq.uncacheable) {
        call fs_document_response;
    }
    return (deliver);
}

sub fs_stream_response {
    set beresp.do_stream = true;
    set beresp.do_gzip = false;
    set beresp.uncacheable = false;
    set beresp.storage = storage.streams;
    if (beresp.status == 200 && beresp.http.Content-Type ~ "(?i)^text/event-stream") {
        # The ttl is what the origin says it is, the join window, less the time at edges in between. Longer, and who
        # opens his next stream before the old one ends joins the old one again and dies with it. Never so short that
        # nothing would be collapsed.
        if (beresp.http.Cache-Control !~ "s-maxage") {
            set beresp.ttl = 1s;
        }
        if (beresp.ttl < 1s) {
            set beresp.ttl = 1s;
        }
    } else if (beresp.status >= 400 && beresp.status < 500) {
        set beresp.ttl = 10s;
    } else {
        # A browser's EventSource never comes back from a 503: try another origin, then the waiting room.
        if (bereq.retries < 2) {
            return (retry);
        }
        set beresp.status = 503;
        set beresp.ttl = 1s;
    }
}

sub fs_document_response {
    set beresp.uncacheable = false;
    set beresp.storage = storage.documents;
    set beresp.do_gzip = true;
    if (beresp.status == 200) {
        set beresp.ttl = 1s;
        if (bereq.url ~ "\?v=") {
            if (beresp.http.X-Flagstream-Version == regsub(bereq.url, "^.*\?v=", "")
                && beresp.http.Cache-Control ~ "immutable" && !beresp.http.X-Flagstream-Stale) {
                set beresp.ttl = 1h;
            }
        } else if (beresp.http.Surrogate-Key && beresp.http.Cache-Control !~ "no-store"
            && !beresp.http.X-Flagstream-Stale) {
            # Only what can be purged may be kept, and nothing that its origin knows to be old already.
            call fs_unversioned_ttl;
        }
    } else if (beresp.status >= 500) {
        set beresp.ttl = 1s;
    } else {
        set beresp.ttl = 10s;
    }
}

sub vcl_backend_error {
    if (bereq.url ~ "^/sse/" && bereq.retries < 2) {
        return (retry);
    }
    if (bereq.url !~ "^/sse/" && (bereq.method == "GET" || bereq.method == "HEAD") && bereq.retries < 1) {
        return (retry);
    }
    # One failed try a second and key, shared by all who ask meanwhile.
    set beresp.ttl = 1s;
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    set beresp.http.Content-Type = "application/json";
    set beresp.http.Cache-Control = "no-store";
    set beresp.http.Retry-After = "1";
    synthetic("""{"detail":"No origin answers. Try again."}""");
    return (deliver);
}

sub vcl_deliver {
    if (req.http.X-Fs-Kind == "stream") {
        call fs_deliver_stream;
    }
    if (resp.http.Surrogate-Key) {
        std.log("environment:" + resp.http.Surrogate-Key);
    }
    if (client.ip !~ fs_tiers) {
        unset resp.http.Surrogate-Key;
        unset resp.http.Surrogate-Control;
        if (req.http.X-Fs-Kind == "stream") {
            set resp.http.Cache-Control = "no-store, no-transform";
        }
    }
    unset resp.http.Via;
    unset resp.http.X-Varnish;
    unset resp.http.Server;
    call fs_every_answer;
    return (deliver);
}

sub fs_deliver_stream {
    # A stream that has ended but is still fresh would be replayed as a finished body: whoever connects is ended at
    # once and connects again. So a finished hit goes round once more, to hit nothing that old.
    # Once a second is enough for an origin that ends streams at once; a waiting room ends them all when one is back.
    if (resp.status == 200 && !resp.is_streaming && obj.hits > 0 && req.restarts == 0
        && (obj.age > 1s || resp.http.X-Flagstream-Waiting)) {
        # Look-up measures age at req.time, the arrival, which a restart does not reset; obj.age is that of now.
        set req.http.X-Fs-Older-Than = obj.age - (now - req.time) - 0.01s;
        return (restart);
    }
    if (resp.status >= 500) {
        return (synth(702));
    }
    unset resp.http.Accept-Ranges;
    unset resp.http.ETag;
}

sub fs_every_answer {
    set resp.http.Access-Control-Allow-Origin = "*";
    set resp.http.Access-Control-Expose-Headers = "Age, ETag, Retry-After, X-Stream-Lifetime, X-Stream-Join-Window, X-Flagsmith-Document-Updated-At, X-Flagstream-Version, X-Flagstream-Stale";
    set resp.http.X-Content-Type-Options = "nosniff";
    if (req.http.X-Fs-Draining) {
        # Whoever keeps the connection would open his next stream here, not where the load balancer sends others.
        set resp.http.Connection = "close";
    }
}

sub vcl_synth {
    unset resp.http.Server;
    unset resp.http.X-Varnish;
    unset resp.http.Retry-After;
    call fs_every_answer;
    set resp.http.Cache-Control = "no-store";
    set resp.http.Content-Type = "application/json";
    if (req.http.X-Fs-Kind == "stream" && (resp.status == 500 || resp.status == 503)) {
        # Whatever went wrong inside, an error here would end a browser's EventSource for good.
        call fs_last_resort;
    } else if (resp.status == 204) {
        set resp.http.Access-Control-Allow-Methods = req.http.X-Fs-Methods;
        set resp.http.Access-Control-Allow-Headers = "Accept, Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID, X-Environment-Key, Flagsmith-SDK-User-Agent, Flagsmith-Application-Version";
        set resp.http.Access-Control-Max-Age = "86400";
        set resp.http.Cache-Control = "public, max-age=86400";
        unset resp.http.Content-Type;
        synthetic("");
    } else if (resp.status == 404) {
        synthetic("""{"detail":"There is nothing at this path."}""");
    } else if (resp.status == 405) {
        set resp.http.Allow = req.http.X-Fs-Methods;
        synthetic("""{"detail":"This path takes """ + req.http.X-Fs-Methods + """."}""");
    } else if (resp.status == 403) {
        synthetic("""{"detail":"This address may not purge: it is not in purgers."}""");
    } else if (resp.status == 400) {
        synthetic("""{"detail":"Surrogate-Key must name one stream or document, as in document-0123456789abcdef."}""");
    } else if (resp.status == 200) {
        synthetic("""{"status":"ok"}""");
    } else if (resp.status == 701) {
        call fs_health;
    } else if (resp.status == 702) {
        call fs_last_resort;
    } else if (resp.status == 703) {
        set resp.status = 200;
        set resp.reason = "OK";
        set resp.http.Content-Type = "text/event-stream";
        set resp.http.Cache-Control = "no-store, no-transform";
    } else {
        synthetic("""{"detail":"The edge could not answer. Try again."}""");
    }
    return (deliver);
}

# Of the edge itself: outer tiers and load balancers look here.
sub fs_health {
    if (req.http.X-Fs-Draining && req.url !~ "liveness") {
        set resp.status = 503;
        set resp.reason = "Draining";
        synthetic("""{"status":"not ready","reasons":["this edge is draining"]}""");
    } else {
        set resp.status = 200;
        set resp.reason = "OK";
        synthetic("""{"status":"ready"}""");
    }
}

# No origin and no waiting room. A browser's EventSource gives up for good on any status but 200, so it gets one, and
# a random time to stay away. Python SDKs do not heed it: README.md has what this costs.
sub fs_last_resort {
    set resp.status = 200;
    set resp.reason = "OK";
    set resp.http.Content-Type = "text/event-stream";
    set resp.http.Cache-Control = "no-store, no-transform";
    synthetic("retry: " + std.integer(real=std.random(2000, 10000)) + {"
: no origin answers

"});
}
