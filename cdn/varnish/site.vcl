# Where the origins are and who may do what. `flagstream edge render varnish` writes this file from the settings; it may
# be written by hand as well. Names are resolved when the file is loaded.

import directors;
import std;

# Edges outside this one: only they are told how long a stream may be joined.
acl fs_tiers {
}

# Who may purge.
acl fs_purgers {
}

probe fs_readiness {
    .url = "/health/readiness";
    .interval = 1s;
    .timeout = 1s;
    .window = 2;
    .threshold = 1;
    .initial = 1;
}

# Each origin once for streams, of which there is a limit, and once for documents; and both again without a probe, since
# Varnish asks nothing of a backend whose probe fails.
backend fs_origin_1 {
    .host = "127.0.0.1";
    .port = "8088";
    .connect_timeout = 1s;
    .between_bytes_timeout = 45s;
    .max_connections = 4000;
    .probe = fs_readiness;
}
backend fs_origin_1_unasked {
    .host = "127.0.0.1";
    .port = "8088";
    .connect_timeout = 0.5s;
    .between_bytes_timeout = 45s;
    .max_connections = 4000;
}
backend fs_documents_1 {
    .host = "127.0.0.1";
    .port = "8088";
    .connect_timeout = 1s;
    .between_bytes_timeout = 45s;
    .probe = fs_readiness;
}
backend fs_documents_1_unasked {
    .host = "127.0.0.1";
    .port = "8088";
    .connect_timeout = 0.5s;
    .between_bytes_timeout = 45s;
}
backend fs_waiting_room {
    .host = "127.0.0.1";
    .port = "8089";
    .connect_timeout = 1s;
    .between_bytes_timeout = 45s;
    .max_connections = 4000;
}

sub vcl_init {
    # By hash: an environment's streams, and the versions of its documents, stay at one origin.
    new fs_ready = directors.shard();
    fs_ready.add_backend(fs_origin_1);
    fs_ready.reconfigure();
    new fs_any = directors.shard();
    fs_any.add_backend(fs_origin_1_unasked);
    fs_any.reconfigure();
    new fs_documents = directors.shard();
    fs_documents.add_backend(fs_documents_1);
    fs_documents.reconfigure();
    new fs_any_documents = directors.shard();
    fs_any_documents.add_backend(fs_documents_1_unasked);
    fs_any_documents.reconfigure();
    # In turn: what is passed, most of it for a few large environments.
    new fs_passed = directors.round_robin();
    fs_passed.add_backend(fs_documents_1);
}

# An origin that is ready, for a second try another one. While none is, one is asked all the same, for a second: who has
# come back is found by the next client, not by the next probe, and who is frozen holds nobody for long. Then the waiting
# room.
sub fs_stream_backend {
    set bereq.first_byte_timeout = 5s;
    set bereq.backend = fs_ready.backend(by=HASH);
    if (!std.healthy(bereq.backend)) {
        set bereq.first_byte_timeout = 1s;
        set bereq.backend = fs_any.backend(by=HASH);
        if (bereq.retries > 0) {
            set bereq.backend = fs_waiting_room;
        }
    }
    if (bereq.retries > 0) {
        set bereq.first_byte_timeout = 2s;
        set bereq.backend = fs_waiting_room;
    }
}

sub fs_document_backend {
    set bereq.first_byte_timeout = 10s;
    if (bereq.uncacheable) {
        set bereq.backend = fs_passed.backend();
    } else {
        set bereq.backend = fs_documents.backend(by=HASH);
    }
    if (!std.healthy(bereq.backend)) {
        set bereq.first_byte_timeout = 1s;
        set bereq.backend = fs_any_documents.backend(by=HASH);
    }
}

# How long documents are kept that were asked for without a version, where they are kept at all.
sub fs_unversioned_ttl {
    set beresp.ttl = 1s;
}

sub fs_site {
    if (std.file_exists("/run/flagstream-edge/draining")) {
        set req.http.X-Fs-Draining = "1";
    }
}
