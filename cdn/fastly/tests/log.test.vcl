// The log line: time and environment, and never a key.

// @scope: log
// @suite: it is one JSON object with a keyed digest of the environment
sub test_log_digest {
  testing.table_set(flagstream_secrets, "log_secret", "secret");
  set req.url = "/sse/environments/env-key-1/stream";
  set req.http.X-Fs-Kind = "stream";
  testing.call_subroutine("fs_log_line");
  assert.is_json(req.http.X-Fs-Log);
  assert.match(req.http.X-Fs-Log, {"^.{1}"time":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z","method":"GET","kind":"stream","status":200,"bytes":[0-9]+,"seconds":[0-9]+,"state":"[A-Z-]+","restarts":0,"place":"origin","environment":"fb0765d4ae8827cb".$"});
  assert.not_contains(req.http.X-Fs-Log, "env-key-1");
}

// @scope: log
// @suite: it says who was asked
sub test_log_place {
  set req.url = "/sse/environments/env-key-1/stream";
  set req.http.X-Fs-Place = "nowhere";
  testing.call_subroutine("fs_log_line");
  assert.is_json(req.http.X-Fs-Log);
  assert.contains(req.http.X-Fs-Log, "%22place%22:%22nowhere%22");
}

// @scope: log
// @suite: another secret is another digest
sub test_log_other_secret {
  testing.table_set(flagstream_secrets, "log_secret", "other");
  set req.url = "/sse/environments/env-key-1/stream";
  testing.call_subroutine("fs_log_line");
  assert.not_contains(req.http.X-Fs-Log, "fb0765d4ae8827cb");
  assert.match(req.http.X-Fs-Log, {""environment":"[0-9a-f]{16}""});
}

// @scope: log
// @suite: without a secret there is no digest that could be looked up in a list of keys
sub test_log_without_secret {
  testing.table_set(flagstream_secrets, "log_secret", "");
  set req.url = "/sse/environments/env-key-1/stream";
  testing.call_subroutine("fs_log_line");
  assert.is_json(req.http.X-Fs-Log);
  assert.contains(req.http.X-Fs-Log, "%22environment%22:%22%22");
  assert.not_contains(req.http.X-Fs-Log, "env-key-1");
}

// @scope: log
// @suite: a document's environment is the one in its header, with the same digest
sub test_log_document {
  testing.table_set(flagstream_secrets, "log_secret", "secret");
  set req.url = "/api/v1/flags/";
  set req.http.X-Environment-Key = "env-key-1";
  testing.call_subroutine("fs_log_line");
  assert.contains(req.http.X-Fs-Log, "fb0765d4ae8827cb");
  assert.not_contains(req.http.X-Fs-Log, "env-key-1");
}

// @scope: log
// @suite: the key itself where usage is billed
sub test_log_keys {
  testing.table_set(flagstream_settings, "log_keys", "1");
  testing.table_set(flagstream_secrets, "log_secret", "secret");
  set req.url = "/sse/environments/env-key-1/stream";
  testing.call_subroutine("fs_log_line");
  assert.is_json(req.http.X-Fs-Log);
  assert.contains(req.http.X-Fs-Log, "env-key-1");
}

// @scope: log
// @suite: a server key never
sub test_log_server_key {
  testing.table_set(flagstream_settings, "log_keys", "1");
  testing.table_set(flagstream_secrets, "log_secret", "secret");
  set req.url = "/api/v1/environment-document/";
  set req.http.X-Environment-Key = "ser.secret-key";
  testing.call_subroutine("fs_log_line");
  assert.is_json(req.http.X-Fs-Log);
  assert.not_contains(req.http.X-Fs-Log, "secret-key");
}

// @scope: log
// @suite: what a client calls a key cannot break the line
sub test_log_quotes {
  testing.table_set(flagstream_settings, "log_keys", "1");
  set req.url = "/api/v1/flags/";
  set req.http.X-Environment-Key = "a%22b";
  testing.call_subroutine("fs_log_line");
  assert.is_json(req.http.X-Fs-Log);
  assert.contains(req.http.X-Fs-Log, "%22environment%22:%22%22");
}
