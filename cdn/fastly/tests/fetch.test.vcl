// What is asked of a backend, and how long its answer is shared.

// @scope: hash
// @suite: a stream's key is its URL alone
sub test_hash_stream {
  set req.url = "/sse/environments/k/stream";
  set req.http.X-Fs-Kind = "stream";
  set req.http.X-Environment-Key = "x";
  set req.http.Host = "one.example.com";
  testing.call_subroutine("vcl_hash");
  assert.state(hash);
  assert.equal(req.hash, "/sse/environments/k/stream");
}

// @scope: hash
// @suite: the waiting room has a key of its own
sub test_hash_waiting {
  set req.url = "/sse/environments/k/stream";
  set req.http.X-Fs-Kind = "stream";
  set req.http.X-Fs-Place = "waiting";
  testing.call_subroutine("vcl_hash");
  assert.equal(req.hash, "/sse/environments/k/stream waiting");
}

// @scope: hash
// @suite: a document's key has its environment in it
sub test_hash_document {
  set req.url = "/api/v1/flags/?v=1";
  set req.http.X-Fs-Kind = "document";
  set req.http.X-Environment-Key = "k";
  testing.call_subroutine("vcl_hash");
  assert.equal(req.hash, "/api/v1/flags/?v=1 key k");
}

// @scope: miss
// @suite: a stream has 5 s for its head and 45 s between two bytes, and names of ours do not leave
sub test_miss_stream {
  set req.http.X-Fs-Kind = "stream";
  set bereq.http.X-Fs-Kind = "stream";
  set bereq.http.X-Fs-Methods = "GET";
  set bereq.http.X-Fs-Place = "x";
  set bereq.http.X-Fs-Asker = "x";
  set bereq.http.X-Fs-Version = "1";
  set bereq.http.Accept-Encoding = "gzip";
  set bereq.http.If-None-Match = "x";
  set bereq.http.If-Modified-Since = "x";
  set bereq.http.X-Forwarded-For = "192.0.2.1";
  set bereq.http.Fastly-Client-IP = "192.0.2.1";
  testing.call_subroutine("vcl_miss");
  assert.state(fetch);
  assert.equal(bereq.first_byte_timeout, 5s);
  assert.equal(bereq.between_bytes_timeout, 45s);
  assert.is_notset(bereq.http.X-Fs-Kind);
  assert.is_notset(bereq.http.X-Fs-Methods);
  assert.is_notset(bereq.http.X-Fs-Place);
  assert.is_notset(bereq.http.X-Fs-Asker);
  assert.is_notset(bereq.http.X-Fs-Version);
  assert.is_notset(bereq.http.Accept-Encoding);
  assert.is_notset(bereq.http.If-None-Match);
  assert.is_notset(bereq.http.If-Modified-Since);
  assert.is_notset(bereq.http.X-Forwarded-For);
  assert.is_notset(bereq.http.Fastly-Client-IP);
}

// @scope: miss
// @suite: the waiting room has 2 s
sub test_miss_waiting {
  set req.http.X-Fs-Kind = "stream";
  set req.http.X-Fs-Place = "waiting";
  testing.call_subroutine("vcl_miss");
  assert.equal(bereq.first_byte_timeout, 2s);
  assert.equal(bereq.between_bytes_timeout, 45s);
}

// @scope: miss
// @suite: a document has 10 s
sub test_miss_document {
  set req.http.X-Fs-Kind = "document";
  testing.call_subroutine("vcl_miss");
  assert.equal(bereq.first_byte_timeout, 10s);
}

// @scope: miss
// @suite: the shield gives up before the edge in front of it does
sub test_miss_shield {
  set req.http.X-Fs-Kind = "stream";
  testing.inject_variable("req.backend.is_shield", true);
  testing.call_subroutine("vcl_miss");
  assert.equal(bereq.first_byte_timeout, 20s);
}

// @scope: pass
// @suite: what passes has 10 s and keeps what it carries
sub test_pass {
  set req.http.X-Fs-Kind = "pass";
  set bereq.http.X-Fs-Kind = "pass";
  set bereq.http.Accept-Encoding = "gzip";
  set bereq.http.X-Forwarded-For = "192.0.2.1";
  testing.call_subroutine("vcl_pass");
  assert.state(pass);
  assert.equal(bereq.first_byte_timeout, 10s);
  assert.is_notset(bereq.http.X-Fs-Kind);
  assert.equal(bereq.http.Accept-Encoding, "gzip");
  assert.equal(bereq.http.X-Forwarded-For, "192.0.2.1");
}

describe a_stream {
  before_fetch {
    set req.http.X-Fs-Kind = "stream";
    unset req.http.X-Fs-Version;
    set beresp.status = 200;
    set beresp.ttl = 3600s;
    set beresp.cacheable = false;
    set beresp.do_stream = false;
    set beresp.brotli = true;
    set beresp.stale_while_revalidate = 60s;
    set beresp.stale_if_error = 60s;
    set beresp.http.Content-Type = "text/event-stream; charset=utf-8";
    set beresp.http.Surrogate-Control = "max-age=20";
    set beresp.http.X-Stream-Lifetime = "30";
    unset beresp.http.Age;
    unset beresp.http.Cache-Control;
  }

  // @scope: fetch
  // @suite: it is streamed, shared, never stale, never compressed, without Vary, cookie or validators
  sub test_fetch_stream {
    set beresp.http.Vary = "Origin";
    set beresp.http.Set-Cookie = "a=b";
    set beresp.http.ETag = "x";
    set beresp.http.Last-Modified = "x";
    set beresp.http.X-Compress-Hint = "on";
    testing.call_subroutine("vcl_fetch");
    assert.state(deliver);
    assert.true(beresp.do_stream);
    assert.true(beresp.cacheable);
    assert.false(beresp.brotli);
    assert.equal(beresp.stale_while_revalidate, 0s);
    assert.equal(beresp.stale_if_error, 0s);
    assert.is_notset(beresp.http.Vary);
    assert.is_notset(beresp.http.Set-Cookie);
    assert.is_notset(beresp.http.ETag);
    assert.is_notset(beresp.http.Last-Modified);
    assert.is_notset(beresp.http.X-Compress-Hint);
  }

  // @scope: fetch
  // @suite: nor by gzip
  sub test_fetch_gzip {
    set beresp.gzip = true;
    testing.call_subroutine("vcl_fetch");
    assert.false(beresp.gzip);
  }

  // @scope: fetch
  // @suite: its ttl is the join window it announces
  sub test_fetch_window {
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 20s);
  }

  // @scope: fetch
  // @suite: another window is another ttl
  sub test_fetch_other_window {
    set beresp.http.Surrogate-Control = "max-age=7, stale-while-revalidate=60";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 7s);
  }

  // @scope: fetch
  // @suite: less the time that it spent behind a shield
  sub test_fetch_age {
    set beresp.http.Age = "13";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 7s);
  }

  // @scope: fetch
  // @suite: never below a second, or nothing would be collapsed
  sub test_fetch_floor {
    set beresp.http.Age = "25";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: without an announcement a second, not Fastly's own default
  sub test_fetch_unannounced {
    unset beresp.http.Surrogate-Control;
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: a window that outlives its stream is cut to a second before the stream's end
  sub test_fetch_lifetime {
    set beresp.http.Surrogate-Control = "max-age=40";
    set beresp.http.Age = "4";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 25s);
  }

  // @scope: fetch
  // @suite: a lifetime may have decimals, which do not count
  sub test_fetch_lifetime_decimal {
    set beresp.http.X-Stream-Lifetime = "6.5";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 5s);
  }

  // @scope: fetch
  // @suite: no object is fresh when a silent body is taken for complete
  sub test_fetch_cap {
    set beresp.http.Surrogate-Control = "max-age=290";
    set beresp.http.X-Stream-Lifetime = "300";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 44s);
  }

  // @scope: fetch
  // @suite: an origin's error is shared for a second
  sub test_fetch_error {
    set beresp.status = 502;
    testing.call_subroutine("vcl_fetch");
    assert.state(deliver);
    assert.true(beresp.cacheable);
    assert.equal(beresp.ttl, 1s);
    assert.equal(beresp.status, 503);
  }

  // @scope: fetch
  // @suite: a refusal is shared for 10 s and stays what it is
  sub test_fetch_refused {
    set beresp.status = 404;
    testing.call_subroutine("vcl_fetch");
    assert.true(beresp.cacheable);
    assert.equal(beresp.ttl, 10s);
    assert.equal(beresp.status, 404);
  }

  // @scope: fetch
  // @suite: a page that is no stream counts as an error
  sub test_fetch_page {
    set beresp.http.Content-Type = "text/html";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
    assert.equal(beresp.status, 503);
  }

  // @scope: fetch
  // @suite: so does an empty answer
  sub test_fetch_empty {
    set beresp.status = 204;
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
    assert.equal(beresp.status, 503);
  }
}

describe a_document {
  before_fetch {
    set req.http.X-Fs-Kind = "document";
    set req.http.X-Fs-Version = "17";
    set beresp.status = 200;
    set beresp.ttl = 60s;
    set beresp.http.X-Flagstream-Version = "17";
    set beresp.http.Cache-Control = "public, max-age=86400, immutable";
    unset beresp.http.X-Flagstream-Stale;
    unset beresp.http.Surrogate-Key;
  }

  // @scope: fetch
  // @suite: it is kept for an hour if it is of the version asked for
  sub test_fetch_version {
    testing.call_subroutine("vcl_fetch");
    assert.state(deliver);
    assert.equal(beresp.ttl, 3600s);
  }

  // @scope: fetch
  // @suite: for a second if it is of another
  sub test_fetch_other_version {
    set beresp.http.X-Flagstream-Version = "18";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: for a second if the upstream does not say which it is
  sub test_fetch_not_immutable {
    set beresp.http.Cache-Control = "public, max-age=0, s-maxage=1";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: for a second if its upstream is down
  sub test_fetch_stale_version {
    set beresp.http.X-Flagstream-Stale = "1";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: an error is shared for a second
  sub test_fetch_document_error {
    set beresp.status = 503;
    testing.call_subroutine("vcl_fetch");
    assert.true(beresp.cacheable);
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: a refusal is shared for 10 s
  sub test_fetch_document_refused {
    set beresp.status = 401;
    testing.call_subroutine("vcl_fetch");
    assert.true(beresp.cacheable);
    assert.equal(beresp.ttl, 10s);
  }

  // @scope: fetch
  // @suite: an unversioned one is kept as long as the setting says
  sub test_fetch_unversioned {
    testing.table_set(flagstream_settings, "document_ttl", "600");
    unset req.http.X-Fs-Version;
    set beresp.http.Surrogate-Key = "document-0123456789abcdef";
    testing.call_subroutine("vcl_fetch");
    assert.state(deliver);
    assert.equal(beresp.ttl, 600s);
  }

  // @scope: fetch
  // @suite: but only if it can be purged
  sub test_fetch_unversioned_unnamed {
    testing.table_set(flagstream_settings, "document_ttl", "600");
    unset req.http.X-Fs-Version;
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: and its origin lets it be stored
  sub test_fetch_unversioned_no_store {
    testing.table_set(flagstream_settings, "document_ttl", "600");
    unset req.http.X-Fs-Version;
    set beresp.http.Surrogate-Key = "document-0123456789abcdef";
    set beresp.http.Cache-Control = "private, no-store";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: and its upstream is not down
  sub test_fetch_unversioned_stale {
    testing.table_set(flagstream_settings, "document_ttl", "600");
    unset req.http.X-Fs-Version;
    set beresp.http.Surrogate-Key = "document-0123456789abcdef";
    set beresp.http.X-Flagstream-Stale = "1";
    testing.call_subroutine("vcl_fetch");
    assert.equal(beresp.ttl, 1s);
  }

  // @scope: fetch
  // @suite: and by one tier only
  sub test_fetch_unversioned_shield {
    testing.inject_variable("req.backend.is_shield", true);
    unset req.http.X-Fs-Version;
    set beresp.http.Surrogate-Key = "document-0123456789abcdef";
    testing.call_subroutine("vcl_fetch");
    assert.state(pass);
  }
}

// @scope: fetch
// @suite: what was passed is kept by nobody
sub test_fetch_pass {
  set req.http.X-Fs-Kind = "pass";
  set beresp.status = 200;
  set beresp.http.Cache-Control = "max-age=60";
  testing.call_subroutine("vcl_fetch");
  assert.state(pass);
  assert.false(beresp.cacheable);
}
