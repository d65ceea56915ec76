// What a request is taken for, and what of it is dropped. That "//sse/…" is a stream is tested in the simulator: here
// "//" would begin a host.

// A restart cannot be had here, so the first round forgets nothing.
// @scope: recv
sub second_round {
  set req.http.X-Seen = "1";
}

// @scope: recv
// @suite: after a restart clustering is on again
sub test_next_round {
  testing.call_subroutine("fs_next_round");
  assert.equal(req.http.Fastly-Force-Shield, "1");
}

// @scope: recv
// @suite: a stream's aliases, slashes and queries fold to one URL
sub test_recv_stream {
  set req.url = "/sse/environments/AbC-1_x/stream/?lastEventId=7&utm=1";
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
  assert.equal(req.url, "/sse/environments/AbC-1_x/stream");
  assert.equal(req.http.X-Fs-Kind, "stream");
}

// @scope: recv
// @suite: the short path is the same stream
sub test_recv_short {
  set req.url = "/sse/k/stream?x";
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
  assert.equal(req.url, "/sse/environments/k/stream");
}

// @scope: recv
// @suite: a folded URL folds to itself, because a shield runs this again
sub test_recv_again {
  set req.url = "/sse/environments/k/stream";
  testing.call_subroutine("vcl_recv");
  assert.equal(req.url, "/sse/environments/k/stream");
}

// @scope: recv
// @suite: keys that no environment can have share one idle stream
sub test_recv_impossible_key {
  set req.url = "/sse/environments/a.b%20c/stream?x=1";
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
  assert.equal(req.url, "/sse/environments/!/stream");
  assert.equal(req.http.X-Fs-Kind, "stream");
}

// @scope: recv
// @suite: the idle stream's own URL stays what it is
sub test_recv_impossible_key_again {
  set req.url = "/sse/environments/!/stream";
  testing.call_subroutine("vcl_recv");
  assert.equal(req.url, "/sse/environments/!/stream");
  assert.state(lookup);
}

// @scope: recv
// @suite: nothing personal reaches a shared stream
sub test_recv_stream_headers {
  set req.url = "/sse/environments/k/stream";
  set req.http.Cookie = "a=b";
  set req.http.Authorization = "Bearer x";
  set req.http.Origin = "https://example.com";
  set req.http.Referer = "https://example.com/";
  set req.http.User-Agent = "x";
  set req.http.X-Forwarded-For = "192.0.2.1";
  set req.http.Range = "bytes=0-1";
  set req.http.Cache-Control = "no-cache";
  set req.http.Pragma = "no-cache";
  set req.http.If-None-Match = "x";
  set req.http.If-Modified-Since = "x";
  set req.http.Last-Event-ID = "7";
  set req.http.Accept-Encoding = "gzip";
  set req.http.X-Environment-Key = "x";
  set req.http.Surrogate-Key = "x";
  testing.call_subroutine("vcl_recv");
  assert.is_notset(req.http.Cookie);
  assert.is_notset(req.http.Authorization);
  assert.is_notset(req.http.Origin);
  assert.is_notset(req.http.Referer);
  assert.is_notset(req.http.User-Agent);
  assert.is_notset(req.http.X-Forwarded-For);
  assert.is_notset(req.http.Range);
  assert.is_notset(req.http.Cache-Control);
  assert.is_notset(req.http.Pragma);
  assert.is_notset(req.http.If-None-Match);
  assert.is_notset(req.http.If-Modified-Since);
  assert.is_notset(req.http.Last-Event-ID);
  assert.is_notset(req.http.Accept-Encoding);
  assert.is_notset(req.http.X-Environment-Key);
  assert.is_notset(req.http.Surrogate-Key);
}

// @scope: recv
// @suite: a client cannot send a request to the waiting room or to the last resort
sub test_recv_forged_place {
  set req.url = "/sse/environments/k/stream";
  set req.backend = F_origin;
  set req.http.X-Fs-Place = "nowhere";
  set req.http.X-Fs-Version = "1";
  set req.http.X-Fs-Log = "x";
  set req.http.X-Fs-Asker = "tier";
  testing.call_subroutine("vcl_recv");
  assert.not_error();
  assert.is_notset(req.http.X-Fs-Place);
  assert.is_notset(req.http.X-Fs-Version);
  assert.is_notset(req.http.X-Fs-Log);
  assert.is_notset(req.http.X-Fs-Asker);
  assert.equal(req.backend, F_origin);
}

// @scope: recv
// @suite: a client cannot turn clustering off and so open a stream of his own
sub test_recv_forged_clustering {
  set req.url = "/sse/environments/k/stream";
  set req.http.Fastly-No-Shield = "1";
  set req.http.Fastly-Force-Shield = "1";
  testing.call_subroutine("vcl_recv");
  assert.is_notset(req.http.Fastly-No-Shield);
  assert.is_notset(req.http.Fastly-Force-Shield);
}

// @scope: recv
// @suite: after a restart the waiting room is asked
sub test_recv_restarted {
  set req.url = "/sse/environments/k/stream";
  set req.backend = F_origin;
  set req.http.X-Fs-Place = "waiting";
  testing.mock("fs_first_round", "second_round");
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
  assert.equal(req.backend, F_waiting_room);
}

// @scope: recv
// @suite: while the origin is sick streams go to the waiting room
sub test_recv_sick {
  set req.url = "/sse/environments/k/stream";
  set req.backend = F_origin;
  testing.set_backend_health(F_origin, false);
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
  assert.equal(req.backend, F_waiting_room);
  assert.equal(req.http.X-Fs-Place, "waiting");
}

// @scope: recv
// @suite: in front of a shield the health that counts is the shield's business
sub test_recv_sick_behind_shield {
  set req.url = "/sse/environments/k/stream";
  set req.backend = F_origin;
  testing.set_backend_health(F_origin, false);
  testing.inject_variable("req.backend.is_shield", true);
  testing.call_subroutine("vcl_recv");
  assert.equal(req.backend, F_origin);
  assert.is_notset(req.http.X-Fs-Place);
}

// @scope: recv
// @suite: documents never come from the waiting room
sub test_recv_sick_document {
  set req.url = "/api/v1/flags/?v=1";
  set req.http.X-Environment-Key = "k";
  set req.backend = F_origin;
  testing.set_backend_health(F_origin, false);
  testing.call_subroutine("vcl_recv");
  assert.equal(req.backend, F_origin);
}

// @scope: recv
// @suite: HEAD opens no stream, it is answered here
sub test_recv_head {
  set req.url = "/sse/environments/k/stream";
  set req.method = "HEAD";
  testing.call_subroutine("vcl_recv");
  assert.error(606);
}

// @scope: recv
// @suite: HEAD of a document is looked up
sub test_recv_head_document {
  set req.url = "/api/v1/flags/?v=1";
  set req.method = "HEAD";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
}

// @scope: recv
// @suite: a second question mark begins no version
sub test_recv_second_question_mark {
  set req.url = "/api/v1/flags/?a?v=1";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
}

// @scope: recv
// @suite: a preflight is answered here
sub test_recv_preflight {
  set req.url = "/sse/environments/k/stream";
  set req.method = "OPTIONS";
  testing.call_subroutine("vcl_recv");
  assert.error(603);
  assert.equal(req.http.X-Fs-Methods, "GET, HEAD, OPTIONS");
}

// @scope: recv
// @suite: a preflight of a path that takes POST says so
sub test_recv_preflight_post {
  set req.url = "/ofrep/v1/evaluate/flags/f";
  set req.method = "OPTIONS";
  testing.call_subroutine("vcl_recv");
  assert.error(603);
  assert.equal(req.http.X-Fs-Methods, "POST, OPTIONS");
}

// @scope: recv
// @suite: a stream takes no POST
sub test_recv_stream_post {
  set req.url = "/sse/environments/k/stream";
  set req.method = "POST";
  testing.call_subroutine("vcl_recv");
  assert.error(605);
}

// @scope: recv
// @suite: a document takes no DELETE
sub test_recv_document_delete {
  set req.url = "/api/v1/flags/";
  set req.method = "DELETE";
  testing.call_subroutine("vcl_recv");
  assert.error(605);
}

// @scope: recv
// @suite: publishing does not pass the edge
sub test_recv_queue_change {
  set req.url = "/sse/environments/k/queue-change";
  set req.method = "POST";
  testing.call_subroutine("vcl_recv");
  assert.error(604);
}

// @scope: recv
// @suite: metrics do not pass the edge
sub test_recv_metrics {
  set req.url = "/metrics";
  testing.call_subroutine("vcl_recv");
  assert.error(604);
}

// @scope: recv
// @suite: a query that looks like a stream does not make one
sub test_recv_query_stream {
  set req.url = "/sse/x?y/stream";
  testing.call_subroutine("vcl_recv");
  assert.error(604);
}

// @scope: recv
// @suite: health is the edge's own
sub test_recv_health {
  set req.url = "/health/readiness";
  testing.call_subroutine("vcl_recv");
  assert.error(601);
}

// @scope: recv
// @suite: when nobody has a stream the last resort is made here
sub test_recv_nowhere {
  set req.url = "/sse/environments/k/stream";
  set req.http.X-Fs-Place = "nowhere";
  testing.mock("fs_first_round", "second_round");
  testing.call_subroutine("vcl_recv");
  assert.error(602);
}

// @scope: recv
// @suite: a URL is purged only by who has a token
sub test_recv_purge {
  set req.url = "/sse/environments/k/stream?x=1";
  set req.method = "FASTLYPURGE";
  testing.call_subroutine("vcl_recv");
  assert.equal(req.http.Fastly-Purge-Requires-Auth, "1");
  assert.state(lookup);
  assert.equal(req.url, "/sse/environments/k/stream");
}

// @scope: recv
// @suite: identities, analytics and evaluations pass with what they carry
sub test_recv_pass {
  set req.url = "/api/v1/identities/?identifier=u";
  set req.method = "POST";
  set req.http.Authorization = "Bearer x";
  set req.http.Cookie = "a=b";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
  assert.equal(req.url, "/api/v1/identities/?identifier=u");
  assert.equal(req.http.Authorization, "Bearer x");
  assert.is_notset(req.http.Cookie);
}

// @scope: recv
// @suite: an evaluation of one flag passes
sub test_recv_pass_ofrep {
  set req.url = "/ofrep/v1/evaluate/flags/my-flag";
  set req.method = "POST";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
}

// @scope: recv
// @suite: analytics take no GET
sub test_recv_analytics_get {
  set req.url = "/api/v1/analytics/flags/";
  testing.call_subroutine("vcl_recv");
  assert.error(605);
}

// @scope: recv
// @suite: a versioned document keeps its version and nothing else of its query
sub test_recv_versioned {
  set req.url = "/api/v1/environment-document?utm=3&v=17&x=1";
  set req.http.X-Environment-Key = "ser.k";
  set req.http.Authorization = "Bearer x";
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
  assert.equal(req.url, "/api/v1/environment-document/?v=17");
  assert.equal(req.http.X-Fs-Version, "17");
  assert.is_notset(req.http.Authorization);
}

// @scope: recv
// @suite: a version is a number of at most 17 digits
sub test_recv_version_too_long {
  set req.url = "/api/v1/flags/?v=123456789012345678";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
}

// @scope: recv
// @suite: one feature of a version passes
sub test_recv_versioned_feature {
  set req.url = "/api/v1/flags/?v=17&feature=f";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
  assert.equal(req.url, "/api/v1/flags/?v=17&feature=f");
}

// @scope: recv
// @suite: a document without an environment key passes
sub test_recv_document_without_key {
  set req.url = "/api/v1/flags/?v=17";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
}

// @scope: recv
// @suite: an unversioned document passes
sub test_recv_unversioned {
  set req.url = "/api/v1/flags/";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
}

// @scope: recv
// @suite: with document_ttl an unversioned document is kept under its path
sub test_recv_unversioned_kept {
  testing.table_set(flagstream_settings, "document_ttl", "600");
  set req.url = "/api/v1/flags?utm=1";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
  assert.equal(req.url, "/api/v1/flags/");
}

// @scope: recv
// @suite: in front of a shield it passes, so that one purge is enough
sub test_recv_unversioned_shield {
  testing.table_set(flagstream_settings, "document_ttl", "600");
  testing.inject_variable("req.backend.is_shield", true);
  set req.url = "/api/v1/flags/";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(pass);
}

// @scope: recv
// @suite: a versioned one is kept in front of a shield as well
sub test_recv_versioned_shield {
  testing.inject_variable("req.backend.is_shield", true);
  set req.url = "/api/v1/flags/?v=1";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_recv");
  assert.state(lookup);
}
