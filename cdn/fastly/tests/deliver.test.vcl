// What a client gets, what another tier gets, and what is made up here.

// @scope: deliver
sub another_tier {
  set req.http.X-Fs-Asker = "tier";
}

// @scope: deliver
// @suite: a client gets a stream that no browser or proxy keeps, with its age and lifetime
sub test_deliver_stream {
  set req.http.X-Fs-Kind = "stream";
  set resp.status = 200;
  set resp.http.Cache-Control = "public, max-age=0, s-maxage=20";
  set resp.http.Surrogate-Control = "max-age=20";
  set resp.http.Surrogate-Key = "stream-0123456789abcdef";
  set resp.http.Via = "1.1 varnish";
  set resp.http.X-Varnish = "1";
  set resp.http.Server = "x";
  set resp.http.Accept-Ranges = "bytes";
  set resp.http.X-Served-By = "cache";
  set resp.http.X-Cache = "HIT";
  set resp.http.X-Cache-Hits = "1";
  set resp.http.X-Timer = "S1";
  set resp.http.Age = "3";
  set resp.http.X-Stream-Lifetime = "30";
  testing.call_subroutine("vcl_deliver");
  assert.state(deliver);
  assert.equal(resp.http.Cache-Control, "no-store, no-transform");
  assert.is_notset(resp.http.Surrogate-Control);
  assert.is_notset(resp.http.Surrogate-Key);
  assert.is_notset(resp.http.Via);
  assert.is_notset(resp.http.X-Varnish);
  assert.is_notset(resp.http.Server);
  assert.is_notset(resp.http.Accept-Ranges);
  assert.is_notset(resp.http.X-Served-By);
  assert.is_notset(resp.http.X-Cache);
  assert.is_notset(resp.http.X-Cache-Hits);
  assert.is_notset(resp.http.X-Timer);
  assert.is_notset(resp.http.X-Compress-Hint);
  assert.equal(resp.http.Age, "3");
  assert.equal(resp.http.X-Stream-Lifetime, "30");
  assert.equal(resp.http.Access-Control-Allow-Origin, "*");
  assert.equal(resp.http.X-Content-Type-Options, "nosniff");
  assert.match(resp.http.Access-Control-Expose-Headers, "Age, .*X-Stream-Lifetime, X-Stream-Join-Window, X-Flagsmith-Document-Updated-At, X-Flagstream-Version, X-Flagstream-Stale");
}

// @scope: deliver
// @suite: another tier gets it as it came, or it could neither share it nor be purged
sub test_deliver_tier {
  testing.mock("fs_find_asker", "another_tier");
  set req.http.X-Fs-Kind = "stream";
  set resp.status = 200;
  set resp.http.Cache-Control = "public, max-age=0, s-maxage=20";
  set resp.http.Surrogate-Control = "max-age=20";
  set resp.http.Surrogate-Key = "stream-0123456789abcdef";
  set resp.http.Age = "3";
  testing.call_subroutine("vcl_deliver");
  assert.state(deliver);
  assert.equal(resp.http.Cache-Control, "public, max-age=0, s-maxage=20");
  assert.equal(resp.http.Surrogate-Control, "max-age=20");
  assert.equal(resp.http.Surrogate-Key, "stream-0123456789abcdef");
  assert.equal(resp.http.Age, "3");
}

// @scope: deliver
// @suite: a document is compressed on the way out and keeps its own Cache-Control
sub test_deliver_document {
  set req.http.X-Fs-Kind = "document";
  set resp.status = 200;
  set resp.http.Cache-Control = "public, max-age=86400, immutable";
  set resp.http.Surrogate-Key = "document-0123456789abcdef";
  testing.call_subroutine("vcl_deliver");
  assert.equal(resp.http.X-Compress-Hint, "on");
  assert.equal(resp.http.Cache-Control, "public, max-age=86400, immutable");
  assert.is_notset(resp.http.Surrogate-Key);
}

// @scope: deliver
// @suite: a 503 on the stream path goes to the waiting room
sub test_deliver_503 {
  set req.http.X-Fs-Kind = "stream";
  set resp.status = 503;
  testing.call_subroutine("vcl_deliver");
  assert.restart();
  assert.equal(req.http.X-Fs-Place, "waiting");
}

// @scope: deliver
// @suite: at a shield as well, so that the waiting room is asked once
sub test_deliver_503_tier {
  testing.mock("fs_find_asker", "another_tier");
  set req.http.X-Fs-Kind = "stream";
  set resp.status = 503;
  testing.call_subroutine("vcl_deliver");
  assert.restart();
  assert.equal(req.http.X-Fs-Place, "waiting");
}

// @scope: deliver
// @suite: when the waiting room fails too the last resort is made
sub test_deliver_503_waiting {
  set req.http.X-Fs-Kind = "stream";
  set req.http.X-Fs-Place = "waiting";
  set resp.status = 503;
  testing.call_subroutine("vcl_deliver");
  assert.restart();
  assert.equal(req.http.X-Fs-Place, "nowhere");
}

// @scope: deliver
// @suite: but not for another tier, which would let clients join it
sub test_deliver_503_waiting_tier {
  testing.mock("fs_find_asker", "another_tier");
  set req.http.X-Fs-Kind = "stream";
  set req.http.X-Fs-Place = "waiting";
  set resp.status = 503;
  testing.call_subroutine("vcl_deliver");
  assert.not_restart();
  assert.equal(resp.status, 503);
}

// @scope: deliver
// @suite: a document's 503 is a 503
sub test_deliver_503_document {
  set req.http.X-Fs-Kind = "document";
  set resp.status = 503;
  testing.call_subroutine("vcl_deliver");
  assert.not_restart();
  assert.equal(resp.status, 503);
}

// @scope: deliver
// @suite: a refused stream stays refused
sub test_deliver_404 {
  set req.http.X-Fs-Kind = "stream";
  set resp.status = 404;
  testing.call_subroutine("vcl_deliver");
  assert.not_restart();
  assert.equal(resp.status, 404);
}

// @scope: error
// @suite: the last resort is a 200 with a random time to stay away
sub test_error_last_resort {
  set obj.status = 602;
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 200);
  assert.equal(obj.http.Content-Type, "text/event-stream");
  assert.equal(obj.http.Cache-Control, "no-store");
  assert.match(testing.synthetic_body, "^retry: ([2-9][0-9]{3}|10000)\n: [a-z ]+\n\n$");
}

// @scope: error
// @suite: HEAD of a stream is a 200 without a body
sub test_error_head {
  set obj.status = 606;
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 200);
  assert.equal(obj.http.Content-Type, "text/event-stream");
  assert.equal(testing.synthetic_body, "");
}

// @scope: error
// @suite: a preflight is a 204 that allows what SDKs send, for a day
sub test_error_preflight {
  set obj.status = 603;
  set req.http.X-Fs-Methods = "GET, HEAD, OPTIONS";
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 204);
  assert.equal(obj.http.Access-Control-Allow-Methods, "GET, HEAD, OPTIONS");
  assert.equal(obj.http.Access-Control-Max-Age, "86400");
  assert.contains(obj.http.Access-Control-Allow-Headers, "X-Environment-Key");
  assert.contains(obj.http.Access-Control-Allow-Headers, "Content-Type");
  assert.contains(obj.http.Access-Control-Allow-Headers, "Authorization");
  assert.contains(obj.http.Access-Control-Allow-Headers, "If-None-Match");
  assert.contains(obj.http.Access-Control-Allow-Headers, "Flagsmith-SDK-User-Agent");
  assert.contains(obj.http.Access-Control-Allow-Headers, "Flagsmith-Application-Version");
  assert.contains(obj.http.Access-Control-Allow-Headers, "Cache-Control");
  assert.contains(obj.http.Access-Control-Allow-Headers, "Last-Event-ID");
  assert.contains(obj.http.Access-Control-Allow-Headers, "Accept");
  assert.is_notset(obj.http.Content-Type);
}

// @scope: error
// @suite: an unknown path is a 404 in JSON
sub test_error_unknown {
  set obj.status = 604;
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 404);
  assert.equal(obj.http.Content-Type, "application/json");
  assert.equal(obj.http.Cache-Control, "no-store");
  assert.is_json(testing.synthetic_body);
  assert.contains(testing.synthetic_body, "detail");
}

// @scope: error
// @suite: a method that is not taken is a 405 that says which are
sub test_error_method {
  set obj.status = 605;
  set req.http.X-Fs-Methods = "POST, OPTIONS";
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 405);
  assert.equal(obj.http.Allow, "POST, OPTIONS");
  assert.is_json(testing.synthetic_body);
  assert.contains(testing.synthetic_body, "POST, OPTIONS");
}

// @scope: error
// @suite: the edge's own health is a 200
sub test_error_health {
  set obj.status = 601;
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 200);
  assert.is_json(testing.synthetic_body);
  assert.contains(testing.synthetic_body, "ready");
}

// @scope: error
// @suite: a backend that does not answer is a 503 in JSON
sub test_error_backend {
  set obj.status = 503;
  testing.call_subroutine("vcl_error");
  assert.equal(obj.status, 503);
  assert.equal(obj.http.Retry-After, "1");
  assert.is_json(testing.synthetic_body);
  assert.contains(testing.synthetic_body, "detail");
}
