# What the module makes of its variables, with a provider that asks nobody.

mock_provider "fastly" {}

variables {
  domains      = ["flags.example.com"]
  origin       = { host = "streams.example.com" }
  waiting_room = { host = "waiting-room.example.net", port = 8089, tls = false }
}

run "without_options" {
  command = plan

  assert {
    condition     = one([for each in fastly_service_vcl.edge.backend : each.shield if each.name == "origin"]) == null
    error_message = "There is a shield that nobody asked for."
  }

  assert {
    condition     = length(fastly_service_vcl.edge.logging_https) == 0
    error_message = "There is a log that nobody asked for."
  }

  assert {
    condition     = one([for each in fastly_service_vcl.edge.backend : each.request_condition if each.name == "waiting_room"]) == "waiting room"
    error_message = "Fastly may choose the waiting room by itself."
  }

  assert {
    condition     = one([for each in fastly_service_vcl.edge.backend : each.override_host if each.name == "origin"]) == "streams.example.com"
    error_message = "The origin is asked under another name than its own."
  }

  assert {
    condition     = one([for each in fastly_service_vcl.edge.dictionary : each.write_only if each.name == "flagstream_secrets"])
    error_message = "The secret could be read."
  }
}

run "with_options" {
  command = plan

  variables {
    shield  = "amsterdam-nl"
    log_url = "https://logs.example.com/"
  }

  assert {
    condition     = one([for each in fastly_service_vcl.edge.backend : each.shield if each.name == "origin"]) == "amsterdam-nl"
    error_message = "The origin has no shield."
  }

  assert {
    condition     = one(fastly_service_vcl.edge.logging_https).placement == "none"
    error_message = "Fastly would add lines of its own to the log."
  }
}

run "no_domain" {
  command         = plan
  expect_failures = [var.domains]

  variables {
    domains = []
  }
}

run "domain_with_a_path" {
  command         = plan
  expect_failures = [var.domains]

  variables {
    domains = ["https://flags.example.com/"]
  }
}

run "origin_with_a_scheme" {
  command         = plan
  expect_failures = [var.origin]

  variables {
    origin = { host = "https://streams.example.com" }
  }
}

run "logs_in_the_clear" {
  command         = plan
  expect_failures = [var.log_url]

  variables {
    log_url = "http://logs.example.com/"
  }
}

run "half_a_second_of_documents" {
  command         = plan
  expect_failures = [var.document_ttl]

  variables {
    document_ttl = 0.5
  }
}
