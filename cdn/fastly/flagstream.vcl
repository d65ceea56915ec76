# Flagstream at the edge, for Fastly. README.md says what each rule prevents and how to deploy this.
#
# The service around it has the backends F_origin and F_waiting_room, the dictionary flagstream_settings, and the private
# dictionary flagstream_secrets. This runs once in each tier: at the edge and, where there is one, at the shield. Every
# rule therefore gives the same result when its own result comes in again.

sub vcl_recv {
  if (req.restarts == 0) {
    call fs_first_round;
  } else {
    call fs_next_round;
  }

  #FASTLY recv

  if (req.http.X-Fs-Place == "nowhere") {
    error 602 "Last Resort";
  }
  # URLs are purged by who has an API token; by default Fastly lets everybody.
  if (req.method == "FASTLYPURGE") {
    set req.http.Fastly-Purge-Requires-Auth = "1";
  }

  # Nothing that only one client says may reach a response that others share, nor split the cache.
  unset req.http.Cookie;
  unset req.http.Range;
  unset req.http.Cache-Control;
  unset req.http.Pragma;
  unset req.http.Surrogate-Key;

  call fs_classify;
  call fs_check_method;

  if (req.http.X-Fs-Kind == "pass") {
    return(pass);
  }
  unset req.http.Authorization;
  unset req.http.Origin;
  unset req.http.Referer;
  unset req.http.User-Agent;
  unset req.http.X-Forwarded-For;
  unset req.http.Forwarded;
  unset req.http.Accept;
  unset req.http.Accept-Language;
  # Kept unversioned documents are kept by one tier only: an edge that is purged before its shield would take the old one
  # from there again.
  if (req.http.X-Fs-Kind == "document" && !req.http.X-Fs-Version && req.backend.is_shield) {
    return(pass);
  }
  if (req.http.X-Fs-Kind == "stream") {
    # #FASTLY recv has chosen the shield or the origin; a backend that was set here anyhow would skip the shield.
    if (!req.backend.is_shield && !backend.F_origin.healthy) {
      set req.http.X-Fs-Place = "waiting";
    }
    if (req.http.X-Fs-Place == "waiting") {
      set req.backend = F_waiting_room;
    }
  }
  return(lookup);
}

# @scope: recv
sub fs_first_round {
  # Names that our own subroutines use between each other; a client must not set them.
  unset req.http.X-Fs-Kind;
  unset req.http.X-Fs-Methods;
  unset req.http.X-Fs-Version;
  unset req.http.X-Fs-Place;
  unset req.http.X-Fs-Asker;
  unset req.http.X-Fs-Log;
  # With this a client would leave the node that holds the running stream, and open one of his own.
  unset req.http.Fastly-No-Shield;
  unset req.http.Fastly-Force-Shield;
}

# @scope: recv
sub fs_next_round {
  # Clustering is off after a restart: without this every node of a POP would open a stream of its own.
  set req.http.Fastly-Force-Shield = "1";
}

# Sorts a request by its path, and folds what means the same into one URL, which is the key.
# @scope: recv
sub fs_classify {
  if (req.url ~ "^//?sse/(environments/)?[A-Za-z0-9_-]{1,128}/stream/?(\?.*)?$") {
    set req.http.X-Fs-Kind = "stream";
    set req.url = regsub(req.url, "^//?sse/(?:environments/)?([^/?]+)/stream/?(?:\?.*)?$", "/sse/environments/\1/stream");
  } else if (req.url ~ "^//?sse/(environments/)?[^?]*/stream/?(\?.*)?$") {
    # No environment can have such a key. A quick error would send published SDKs into a loop, so all of these share
    # one idle stream: the stream server takes "!" for no key.
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
    error 601 "Health";
  } else {
    error 604 "Not Found";
  }

  if (req.http.X-Fs-Kind == "stream") {
    unset req.http.X-Environment-Key;
    unset req.http.If-None-Match;
    unset req.http.If-Modified-Since;
    unset req.http.Last-Event-ID;
    # A compressor would hold events back.
    unset req.http.Accept-Encoding;
  }
  if (req.http.X-Fs-Kind != "pass") {
    set req.http.X-Fs-Methods = "GET, HEAD, OPTIONS";
  }
}

# A document is kept when its URL names its version. Without one it is old as soon as something changes.
# @scope: recv
sub fs_classify_document {
  set req.http.X-Fs-Kind = "pass";
  set req.http.X-Fs-Methods = "GET, HEAD, OPTIONS";
  if (req.url ~ "[?&]feature=" || !req.http.X-Environment-Key) {
    return;
  }
  if (req.url ~ "^[^?]*\?(.*&)?v=[0-9]{1,17}(&|$)") {
    set req.http.X-Fs-Version = regsub(req.url, "^[^?]*\?(?:.*&)?v=([0-9]{1,17})(?:&.*)?$", "\1");
    set req.url = regsub(req.url, "/?\?.*$", "") "/?v=" req.http.X-Fs-Version;
    set req.http.X-Fs-Kind = "document";
  } else if (std.atoi(table.lookup(flagstream_settings, "document_ttl", "0")) > 0 && req.url !~ "[?&]v=") {
    set req.url = regsub(req.url, "/?(\?.*)?$", "") "/";
    set req.http.X-Fs-Kind = "document";
  }
}

# @scope: recv
sub fs_check_method {
  if (req.method == "OPTIONS") {
    error 603 "Preflight";
  }
  if (req.method == "FASTLYPURGE") {
    return;
  }
  if (req.method == "HEAD" && req.http.X-Fs-Kind == "stream") {
    # Answered here: it would open a stream at the origin that nobody reads.
    error 606 "Head";
  }
  if (req.method == "GET" || req.method == "HEAD") {
    if (req.http.X-Fs-Methods ~ "GET") {
      return;
    }
  } else if (req.method == "POST" && req.http.X-Fs-Methods ~ "POST") {
    return;
  }
  error 605 "Method Not Allowed";
}

# The host is not in the key: all domains of the service share their streams.
sub vcl_hash {
  set req.hash += req.url;
  if (req.http.X-Fs-Kind == "document") {
    set req.hash += " key ";
    set req.hash += req.http.X-Environment-Key;
  }
  # The waiting room under a name of its own: otherwise the restart would find the origin's shared error again, and a
  # waiting stream would be joined when the origin is back.
  if (req.http.X-Fs-Place == "waiting") {
    set req.hash += " waiting";
  }
  #FASTLY hash
  return(hash);
}

sub vcl_hit {
  #FASTLY hit
  return(deliver);
}

sub vcl_miss {
  #FASTLY miss
  call fs_backend_request;
  # Documents are kept as they are and compressed on the way to the client.
  unset bereq.http.Accept-Encoding;
  # Whatever a stored ETag would ask, the answer has to be a whole one.
  unset bereq.http.If-None-Match;
  unset bereq.http.If-Modified-Since;
  unset bereq.http.X-Forwarded-For;
  unset bereq.http.Fastly-Client-IP;
  return(fetch);
}

sub vcl_pass {
  #FASTLY pass
  call fs_backend_request;
  return(pass);
}

# @scope: miss, pass
sub fs_backend_request {
  unset bereq.http.X-Fs-Kind;
  unset bereq.http.X-Fs-Methods;
  unset bereq.http.X-Fs-Version;
  unset bereq.http.X-Fs-Place;
  unset bereq.http.X-Fs-Asker;
  # Between two POPs the inner one has to be the first to give up.
  set bereq.first_byte_timeout = 20s;
  # Three heartbeats. Fastly takes a body that was silent for so long for complete, so no object may be fresh by then:
  # vcl_fetch caps what it keeps below this.
  set bereq.between_bytes_timeout = 45s;
  if (!req.backend.is_shield) {
    if (req.http.X-Fs-Place == "waiting") {
      set bereq.first_byte_timeout = 2s;
    } else if (req.http.X-Fs-Kind == "stream") {
      set bereq.first_byte_timeout = 5s;
    } else {
      set bereq.first_byte_timeout = 10s;
    }
  }
}

sub vcl_fetch {
  #FASTLY fetch
  unset beresp.http.Set-Cookie;
  unset beresp.http.Vary;
  set beresp.stale_while_revalidate = 0s;
  set beresp.stale_if_error = 0s;
  if (req.http.X-Fs-Kind == "stream") {
    call fs_fetch_stream;
    return(deliver);
  }
  if (req.http.X-Fs-Kind == "document" && (req.http.X-Fs-Version || !req.backend.is_shield)) {
    call fs_fetch_document;
    return(deliver);
  }
  set beresp.cacheable = false;
  return(pass);
}

# @scope: fetch
sub fs_fetch_stream {
  declare local var.left RTIME;
  # Fastly keeps only some statuses by itself; what is not kept is asked for by every client in turn.
  set beresp.cacheable = true;
  set beresp.do_stream = true;
  set beresp.gzip = false;
  set beresp.brotli = false;
  unset beresp.http.ETag;
  unset beresp.http.Last-Modified;
  unset beresp.http.X-Compress-Hint;

  if (beresp.status == 200 && beresp.http.Content-Type ~ "(?i)^text/event-stream") {
    # What has ended but is still fresh is replayed as a finished body, and Fastly cannot tell it from a running one. So
    # the ttl is the join window that this stream announces, less the time it has spent in other tiers: never a number
    # of our own, and without an announcement (whose default would be an hour) as short as can be.
    set beresp.ttl = 0s;
    set beresp.ttl += std.atoi(subfield(beresp.http.Surrogate-Control, "max-age", ","));
    set beresp.ttl -= std.atoi(beresp.http.Age);
    if (beresp.http.X-Stream-Lifetime) {
      set var.left = 0s;
      set var.left += std.atoi(regsub(beresp.http.X-Stream-Lifetime, "\..*$", ""));
      set var.left -= std.atoi(beresp.http.Age);
      set var.left -= 1s;
      if (beresp.ttl > var.left) {
        set beresp.ttl = var.left;
      }
    }
    if (beresp.ttl > 44s) {
      set beresp.ttl = 44s;
    }
    # Below a second nothing would be collapsed.
    if (beresp.ttl < 1s) {
      set beresp.ttl = 1s;
    }
  } else if (beresp.status >= 400 && beresp.status < 500) {
    set beresp.ttl = 10s;
  } else {
    # Whatever this is, it is no stream: vcl_deliver goes to the waiting room.
    set beresp.status = 503;
    set beresp.response = "No Stream";
    set beresp.ttl = 1s;
  }
}

# @scope: fetch
sub fs_fetch_document {
  set beresp.cacheable = true;
  if (beresp.status == 200) {
    set beresp.ttl = 1s;
    if (req.http.X-Fs-Version) {
      if (beresp.http.X-Flagstream-Version == req.http.X-Fs-Version && beresp.http.Cache-Control ~ "immutable"
        && !beresp.http.X-Flagstream-Stale) {
        set beresp.ttl = 3600s;
      }
    } else if (beresp.http.Surrogate-Key && beresp.http.Cache-Control !~ "no-store" && !beresp.http.X-Flagstream-Stale) {
      # Only what can be purged may be kept, and nothing that its origin knows to be old already.
      set beresp.ttl = 0s;
      set beresp.ttl += std.atoi(table.lookup(flagstream_settings, "document_ttl", "1"));
    }
  } else if (beresp.status >= 500) {
    set beresp.ttl = 1s;
  } else {
    set beresp.ttl = 10s;
  }
}

sub vcl_error {
  #FASTLY error
  unset obj.http.Retry-After;
  set obj.http.Cache-Control = "no-store";
  set obj.http.Content-Type = "application/json";
  if (obj.status == 601) {
    set obj.status = 200;
    set obj.response = "OK";
    synthetic {"{"status":"ready""} "}";
    return(deliver);
  }
  if (obj.status == 602) {
    call fs_last_resort;
    return(deliver);
  }
  if (obj.status == 603) {
    set obj.status = 204;
    set obj.response = "No Content";
    set obj.http.Access-Control-Allow-Methods = req.http.X-Fs-Methods;
    set obj.http.Access-Control-Allow-Headers = "Accept, Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID, X-Environment-Key, Flagsmith-SDK-User-Agent, Flagsmith-Application-Version";
    set obj.http.Access-Control-Max-Age = "86400";
    set obj.http.Cache-Control = "public, max-age=86400";
    unset obj.http.Content-Type;
    synthetic "";
    return(deliver);
  }
  if (obj.status == 604) {
    set obj.status = 404;
    set obj.response = "Not Found";
    synthetic {"{"detail":"There is nothing at this path.""} "}";
    return(deliver);
  }
  if (obj.status == 605) {
    set obj.status = 405;
    set obj.response = "Method Not Allowed";
    set obj.http.Allow = req.http.X-Fs-Methods;
    synthetic {"{"detail":"This path takes "} req.http.X-Fs-Methods {".""} "}";
    return(deliver);
  }
  if (obj.status == 606) {
    set obj.status = 200;
    set obj.response = "OK";
    set obj.http.Content-Type = "text/event-stream";
    synthetic "";
    return(deliver);
  }
  # A backend that could not be reached or did not answer. On the stream path vcl_deliver never lets it out.
  set obj.http.Retry-After = "1";
  synthetic {"{"detail":"No origin answers. Try again.""} "}";
  return(deliver);
}

# No origin and no waiting room. A browser's EventSource gives up for good on any status but 200, so it gets one, and a
# random time to stay away. Python SDKs do not heed it: README.md has what this costs.
# @scope: error
sub fs_last_resort {
  set obj.status = 200;
  set obj.response = "OK";
  set obj.http.Content-Type = "text/event-stream";
  synthetic "retry: " std.itoa(randomint(2000, 10000)) {"
: no origin answers

"};
}

# Runs in every tier where a request came in from outside the POP, at the shield as well.
sub vcl_deliver {
  #FASTLY deliver
  call fs_find_asker;
  if (req.http.X-Fs-Kind == "stream" && resp.status >= 500 && req.restarts < 2) {
    # From here and nowhere else: what vcl_fetch and vcl_error change in req is lost between the nodes of a POP.
    if (req.http.X-Fs-Place != "waiting") {
      set req.http.X-Fs-Place = "waiting";
      restart;
    }
    # Only for the client himself: another tier would join the finished body.
    if (req.http.X-Fs-Asker == "client") {
      set req.http.X-Fs-Place = "nowhere";
      restart;
    }
  }
  # To another tier everything goes as it came, Surrogate-Control, Surrogate-Key and Age above all.
  if (req.http.X-Fs-Asker == "client") {
    call fs_deliver_to_client;
  }
  return(deliver);
}

# Who asks this POP: a client, or another POP whose shield it is. Not read from Fastly-FF, which a client can send.
# @scope: deliver, log
sub fs_find_asker {
  set req.http.X-Fs-Asker = "tier";
  if (fastly.ff.visits_this_service == 0) {
    set req.http.X-Fs-Asker = "client";
  }
}

# @scope: deliver
sub fs_deliver_to_client {
  if (req.http.X-Fs-Kind == "stream") {
    if (resp.status == 200) {
      set resp.http.Cache-Control = "no-store, no-transform";
    }
    unset resp.http.Accept-Ranges;
    unset resp.http.X-Compress-Hint;
  } else if (resp.status == 200) {
    set resp.http.X-Compress-Hint = "on";
  }
  unset resp.http.Surrogate-Control;
  unset resp.http.Surrogate-Key;
  unset resp.http.Via;
  unset resp.http.X-Varnish;
  unset resp.http.Server;
  if (!req.http.Fastly-Debug) {
    unset resp.http.X-Served-By;
    unset resp.http.X-Cache;
    unset resp.http.X-Cache-Hits;
    unset resp.http.X-Timer;
  }
  set resp.http.Access-Control-Allow-Origin = "*";
  set resp.http.Access-Control-Expose-Headers = "Age, ETag, Retry-After, X-Stream-Lifetime, X-Stream-Join-Window, X-Flagsmith-Document-Updated-At, X-Flagstream-Version, X-Flagstream-Stale";
  set resp.http.X-Content-Type-Options = "nosniff";
}

# A line for each answer to a client, written when it has ended: for a stream after its last byte.
sub vcl_log {
  #FASTLY log
  call fs_find_asker;
  if (req.http.X-Fs-Asker == "client") {
    call fs_log_line;
    log {"syslog "} req.service_id {" flagstream :: "} req.http.X-Fs-Log;
  }
}

# @scope: log
sub fs_log_line {
  declare local var.key STRING;
  declare local var.secret STRING;
  declare local var.environment STRING;
  set var.key = req.http.X-Environment-Key;
  if (req.url ~ "^/sse/environments/([A-Za-z0-9_-]{1,128})/stream$") {
    set var.key = re.group.1;
  }
  # Never the key, and never a digest that anybody could make from a list of keys. Without the secret there is none.
  set var.environment = "";
  set var.secret = table.lookup(flagstream_secrets, "log_secret", "");
  if (var.key != "" && var.secret != "") {
    set var.environment = substr(regsub(digest.hmac_sha256(var.secret, var.key), "^0x", ""), 0, 16);
  }
  # Where usage is billed by environment. A server key opens the whole document, so it stays a digest.
  if (table.lookup(flagstream_settings, "log_keys", "0") == "1" && var.key ~ "^[A-Za-z0-9_-]{1,128}$") {
    set var.environment = var.key;
  }
  set req.http.X-Fs-Log = {"{"time":""} strftime({"%Y-%m-%dT%H:%M:%SZ"}, time.start)
    {"","method":""} json.escape(req.method)
    {"","kind":""} if(req.http.X-Fs-Kind, req.http.X-Fs-Kind, "none")
    {"","status":"} std.itoa(resp.status)
    {","bytes":"} std.itoa(resp.bytes_written)
    {","seconds":"} time.elapsed.sec
    {","state":""} json.escape(fastly_info.state)
    {"","restarts":"} std.itoa(req.restarts)
    {","place":""} if(req.http.X-Fs-Place, req.http.X-Fs-Place, "origin")
    {"","environment":""} var.environment {"""} "}";
}
