# Where the origins are and who may do what. `flagstream edge render varnish` writes this file from the settings; it may
# be written by hand as well. Names are resolved when the file is loaded.

import directors;
import std;

# Edges outside this one: only they are told how long a stream may be joined.
acl fs_tiers {
{% for network in tiers %}
    {{ network }};
{% endfor %}
}

# Who may purge.
acl fs_purgers {
{% for network in purgers %}
    {{ network }};
{% endfor %}
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
{% for origin in origins %}
backend fs_origin_{{ loop.index }} {
    .host = "{{ origin.host }}";
    .port = "{{ origin.port }}";
    .connect_timeout = 1s;
    .between_bytes_timeout = {{ between_bytes }}s;
    .probe = fs_readiness;
}
backend fs_origin_{{ loop.index }}_unasked {
    .host = "{{ origin.host }}";
    .port = "{{ origin.port }}";
    .connect_timeout = 0.5s;
    .between_bytes_timeout = {{ between_bytes }}s;
}
{% endfor %}
{% if waiting_room %}
backend fs_waiting_room {
    .host = "{{ waiting_room.host }}";
    .port = "{{ waiting_room.port }}";
    .connect_timeout = 1s;
    .first_byte_timeout = 2s;
    .between_bytes_timeout = {{ between_bytes }}s;
}
{% endif %}

sub vcl_init {
    # By hash: an environment's streams and documents stay at one origin.
    new fs_ready = directors.shard();
{% for origin in origins %}
    fs_ready.add_backend(fs_origin_{{ loop.index }});
{% endfor %}
    fs_ready.reconfigure();
    new fs_any = directors.shard();
{% for origin in origins %}
    fs_any.add_backend(fs_origin_{{ loop.index }}_unasked);
{% endfor %}
    fs_any.reconfigure();
}

# An origin that is ready, for a second try another one. While none is, one is asked all the same: who has come back is
# found by the next client, not by the next probe.
sub fs_origin {
{% if origins | length > 1 %}
    if (bereq.retries > 0) {
        set bereq.backend = fs_ready.backend(by=HASH, alt=1);
    } else {
        set bereq.backend = fs_ready.backend(by=HASH);
    }
{% else %}
    set bereq.backend = fs_ready.backend(by=HASH);
{% endif %}
    if (!std.healthy(bereq.backend)) {
        set bereq.backend = fs_any.backend(by=HASH);
    }
}

sub fs_stream_backend {
    call fs_origin;
    set bereq.first_byte_timeout = {{ stream_first_byte }}s;
{% if waiting_room %}
    if (!std.healthy(fs_ready.backend(by=HASH))) {
        # Its connections may be taken by a frozen process: whoever waits is better off in the waiting room.
        set bereq.first_byte_timeout = 1s;
    }
{% if origins | length > 1 %}
    if (bereq.retries > 1 || (bereq.retries > 0 && !std.healthy(fs_ready.backend(by=HASH)))) {
{% else %}
    if (bereq.retries > 0) {
{% endif %}
        set bereq.backend = fs_waiting_room;
    }
{% endif %}
}

sub fs_document_backend {
    call fs_origin;
    set bereq.first_byte_timeout = {{ document_first_byte }}s;
}

# How long documents are kept that were asked for without a version, where they are kept at all.
sub fs_unversioned_ttl {
    set beresp.ttl = {{ [document_ttl, 1] | max }}s;
}

sub fs_site {
{% if document_ttl %}
    set req.http.X-Fs-Keep-Unversioned = "1";
{% endif %}
    if (std.file_exists("{{ drain_file }}")) {
        set req.http.X-Fs-Draining = "1";
    }
}
