# Where the origins are and who may do what. `flagstream edge render varnish` writes this file from the settings; it may
# be written by hand as well. Names are resolved when the file is loaded.

import directors;
import std;

# Edges outside this one: only they are told how long a stream may be joined.
acl fs_tiers {
}

# Who may purge.
acl fs_purgers {
    "127.0.0.1";
}

probe fs_readiness {
    .url = "/health/readiness";
    .interval = 1s;
    .timeout = 1s;
    .window = 2;
    .threshold = 1;
    .initial = 1;
}

# Each origin twice: Varnish asks nothing of a backend whose probe fails, and the second one has none.
backend fs_origin_1 {
    .host = "127.0.0.1";
    .port = "8088";
    .connect_timeout = 1s;
    .between_bytes_timeout = 45s;
    .probe = fs_readiness;
}
backend fs_origin_1_unasked {
    .host = "127.0.0.1";
    .port = "8088";
    .connect_timeout = 0.5s;
    .between_bytes_timeout = 45s;
}
backend fs_waiting_room {
    .host = "127.0.0.1";
    .port = "8089";
    .connect_timeout = 1s;
    .first_byte_timeout = 2s;
    .between_bytes_timeout = 45s;
}

sub vcl_init {
    # By hash: an environment's streams and documents stay at one origin.
    new fs_ready = directors.shard();
    fs_ready.add_backend(fs_origin_1);
    fs_ready.reconfigure();
    new fs_any = directors.shard();
    fs_any.add_backend(fs_origin_1_unasked);
    fs_any.reconfigure();
}

# An origin that is ready, for a second try another one. While none is, one is asked all the same: who has come back is
# found by the next client, not by the next probe.
sub fs_origin {
    set bereq.backend = fs_ready.backend(by=HASH);
    if (!std.healthy(bereq.backend)) {
        set bereq.backend = fs_any.backend(by=HASH);
    }
}

sub fs_stream_backend {
    call fs_origin;
    set bereq.first_byte_timeout = 5s;
    if (!std.healthy(fs_ready.backend(by=HASH))) {
        # Its connections may be taken by a frozen process: whoever waits is better off in the waiting room.
        set bereq.first_byte_timeout = 1s;
    }
    if (bereq.retries > 0) {
        set bereq.backend = fs_waiting_room;
    }
}

sub fs_document_backend {
    call fs_origin;
    set bereq.first_byte_timeout = 10s;
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
