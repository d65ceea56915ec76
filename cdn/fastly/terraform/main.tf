locals {
  # Milliseconds; the same in ../flagstream.vcl, where they are set for each kind of request.
  connect_timeout       = 1000
  first_byte_timeout    = 10000
  between_bytes_timeout = 45000
}

resource "fastly_service_vcl" "edge" {
  name          = var.name
  comment       = "Flagstream: streams and documents of feature flags"
  force_destroy = var.force_destroy

  # What a response without an announcement would be kept for; the VCL gives streams a second.
  default_ttl = 0

  dynamic "domain" {
    for_each = toset(var.domains)

    content {
      name = domain.value
    }
  }

  backend {
    name                  = "origin"
    address               = var.origin.host
    port                  = var.origin.port
    override_host         = coalesce(var.origin.host_name, var.origin.host)
    use_ssl               = var.origin.tls
    ssl_cert_hostname     = var.origin.tls ? coalesce(var.origin.host_name, var.origin.host) : null
    ssl_sni_hostname      = var.origin.tls ? coalesce(var.origin.host_name, var.origin.host) : null
    ssl_check_cert        = true
    shield                = var.shield == "" ? null : var.shield
    healthcheck           = "readiness"
    max_conn              = var.max_connections
    auto_loadbalance      = false
    connect_timeout       = local.connect_timeout
    first_byte_timeout    = local.first_byte_timeout
    between_bytes_timeout = local.between_bytes_timeout
  }

  # The condition keeps Fastly from ever choosing it by itself; the VCL does.
  backend {
    name                  = "waiting_room"
    address               = var.waiting_room.host
    port                  = var.waiting_room.port
    override_host         = coalesce(var.waiting_room.host_name, var.waiting_room.host)
    use_ssl               = var.waiting_room.tls
    ssl_cert_hostname     = var.waiting_room.tls ? coalesce(var.waiting_room.host_name, var.waiting_room.host) : null
    ssl_sni_hostname      = var.waiting_room.tls ? coalesce(var.waiting_room.host_name, var.waiting_room.host) : null
    ssl_check_cert        = true
    request_condition     = "waiting room"
    max_conn              = var.max_connections
    auto_loadbalance      = false
    connect_timeout       = local.connect_timeout
    first_byte_timeout    = local.first_byte_timeout
    between_bytes_timeout = local.between_bytes_timeout
  }

  condition {
    name      = "waiting room"
    type      = "REQUEST"
    statement = "req.http.X-Fs-Place == \"waiting\""
  }

  # Two failures in a row and streams go to the waiting room, one success and they come back. It begins healthy: a new
  # version of the service would send everybody to the waiting room otherwise.
  healthcheck {
    name              = "readiness"
    host              = coalesce(var.origin.host_name, var.origin.host)
    path              = "/health/readiness"
    method            = "GET"
    http_version      = "1.1"
    expected_response = 200
    check_interval    = 2000
    timeout           = 1000
    window            = 2
    threshold         = 1
    initial           = 1
  }

  vcl {
    name    = "flagstream"
    main    = true
    content = file("${path.module}/../flagstream.vcl")
  }

  dictionary {
    name          = "flagstream_settings"
    force_destroy = var.force_destroy
  }

  # Private: not even the API tells what is in it. Its one item, log_secret, is put there once by hand, so that it stands
  # in no state file.
  dictionary {
    name          = "flagstream_secrets"
    write_only    = true
    force_destroy = var.force_destroy
  }

  # The VCL writes the lines; placement none keeps Fastly from adding its own.
  dynamic "logging_https" {
    for_each = var.log_url == "" ? [] : [var.log_url]

    content {
      name                = "flagstream"
      url                 = logging_https.value
      method              = "POST"
      content_type        = "application/x-ndjson"
      header_name         = var.log_authorization == "" ? null : "Authorization"
      header_value        = var.log_authorization == "" ? null : var.log_authorization
      json_format         = "2"
      message_type        = "blank"
      placement           = "none"
      request_max_bytes   = 1000000
      request_max_entries = 10000
    }
  }
}

resource "fastly_service_dictionary_items" "settings" {
  for_each = { for each in fastly_service_vcl.edge.dictionary : each.name => each if each.name == "flagstream_settings" }

  service_id    = fastly_service_vcl.edge.id
  dictionary_id = each.value.dictionary_id
  manage_items  = true

  items = {
    document_ttl = tostring(var.document_ttl)
    log_keys     = var.log_keys ? "1" : "0"
  }
}
