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

{% macro backend(name, place, connect_timeout, probed, most=none) %}
backend {{ name }} {
    .host = "{{ place.host }}";
    .port = "{{ place.port }}";
    .connect_timeout = {{ connect_timeout }}s;
    .between_bytes_timeout = {{ between_bytes }}s;
{% if most %}
    .max_connections = {{ most }};
{% endif %}
{% if probed %}
    .probe = fs_readiness;
{% endif %}
}
{% endmacro %}
# Each origin once for streams, of which there is a limit, and once for documents; and both again without a probe, since
# Varnish asks nothing of a backend whose probe fails.
{% for origin in origins %}
{{ backend("fs_origin_%d" % loop.index, origin, 1, true, streams) -}}
{{ backend("fs_origin_%d_unasked" % loop.index, origin, 0.5, false, streams) -}}
{{ backend("fs_documents_%d" % loop.index, origin, 1, true) -}}
{{ backend("fs_documents_%d_unasked" % loop.index, origin, 0.5, false) -}}
{% endfor %}
{% if waiting_room %}
{{ backend("fs_waiting_room", waiting_room, 1, false, streams) -}}
{% endif %}

sub vcl_init {
    # By hash: an environment's streams, and the versions of its documents, stay at one origin.
{% for director, prefix, suffix in [("fs_ready", "fs_origin", ""), ("fs_any", "fs_origin", "_unasked"), ("fs_documents", "fs_documents", ""), ("fs_any_documents", "fs_documents", "_unasked")] %}
    new {{ director }} = directors.shard();
{% for origin in origins %}
    {{ director }}.add_backend({{ prefix }}_{{ loop.index }}{{ suffix }});
{% endfor %}
    {{ director }}.reconfigure();
{% endfor %}
    # In turn: what is passed, most of it for a few large environments.
    new fs_passed = directors.round_robin();
{% for origin in origins %}
    fs_passed.add_backend(fs_documents_{{ loop.index }});
{% endfor %}
}

# An origin that is ready, for a second try another one. While none is, one is asked all the same, for a second: who has
# come back is found by the next client, not by the next probe, and who is frozen holds nobody for long. Then the waiting
# room.
sub fs_stream_backend {
    set bereq.first_byte_timeout = {{ stream_first_byte }}s;
    set bereq.backend = fs_ready.backend(by=HASH);
{% if origins | length > 1 %}
    if (bereq.retries > 0) {
        set bereq.backend = fs_ready.backend(by=HASH, alt=1);
    }
{% endif %}
    if (!std.healthy(bereq.backend)) {
        set bereq.first_byte_timeout = 1s;
        set bereq.backend = fs_any.backend(by=HASH);
{% if waiting_room %}
        if (bereq.retries > 0) {
            set bereq.backend = fs_waiting_room;
        }
    }
    if (bereq.retries > {{ 0 if origins | length == 1 else 1 }}) {
        set bereq.first_byte_timeout = 2s;
        set bereq.backend = fs_waiting_room;
{% endif %}
    }
}

sub fs_document_backend {
    set bereq.first_byte_timeout = {{ document_first_byte }}s;
    if (bereq.uncacheable) {
        set bereq.backend = fs_passed.backend();
    } else {
        set bereq.backend = fs_documents.backend(by=HASH);
{% if origins | length > 1 %}
        if (bereq.retries > 0) {
            set bereq.backend = fs_documents.backend(by=HASH, alt=1);
        }
{% endif %}
    }
    if (!std.healthy(bereq.backend)) {
        set bereq.first_byte_timeout = 1s;
        set bereq.backend = fs_any_documents.backend(by=HASH);
    }
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
