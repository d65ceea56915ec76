variable "name" {
  description = "Name of the service on Fastly, unique in the account."
  type        = string
  default     = "flagstream"

  validation {
    condition     = length(var.name) > 0
    error_message = "A service needs a name."
  }
}

variable "domains" {
  description = "Host names that clients use. Their DNS must point at Fastly, and their certificates must be there (Fastly TLS)."
  type        = list(string)

  validation {
    condition     = length(var.domains) > 0 && alltrue([for each in var.domains : can(regex("^[a-z0-9*]([a-z0-9.-]*[a-z0-9])?$", each))])
    error_message = "Name at least one domain, in lower case, without scheme or path."
  }
}

variable "origin" {
  description = "The stream servers, behind one host name: where they are, whether over TLS, and the Host they are asked by (the host name itself, if not given)."
  type = object({
    host      = string
    port      = optional(number, 443)
    tls       = optional(bool, true)
    host_name = optional(string)
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", var.origin.host)) && var.origin.port > 0 && var.origin.port < 65536
    error_message = "The origin's host must be a host name or an IPv4 address without scheme or path, its port 1 to 65535."
  }
}

variable "waiting_room" {
  description = "The waiting room (flagstream serve --waiting-room), which must not share the fate of the stream servers."
  type = object({
    host      = string
    port      = optional(number, 443)
    tls       = optional(bool, true)
    host_name = optional(string)
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", var.waiting_room.host)) && var.waiting_room.port > 0 && var.waiting_room.port < 65536
    error_message = "The waiting room's host must be a host name or an IPv4 address without scheme or path, its port 1 to 65535."
  }
}

variable "shield" {
  description = "Fastly's code of the POP near the origin that all other POPs ask (amsterdam-nl, iad-va-us, …); empty for no shield. With one, set edge_tiers = 2 on the stream servers."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[a-z0-9-]*$", var.shield))
    error_message = "A shield is a POP's code in lower case, as in amsterdam-nl."
  }
}

variable "max_connections" {
  description = "Connections that one cache node of Fastly opens to a backend at most. A running stream of one environment holds one, and environments are spread over the nodes of a POP."
  type        = number
  default     = 1000

  validation {
    condition     = var.max_connections >= 200
    error_message = "Below 200, Fastly's own default, environments would be sent to the waiting room for want of connections."
  }
}

variable "document_ttl" {
  description = "Seconds that documents asked for without a version are kept; 0 passes them. Above 0 only with a publisher that purges Fastly before it announces a change."
  type        = number
  default     = 0

  validation {
    condition     = var.document_ttl >= 0 && var.document_ttl <= 86400 && floor(var.document_ttl) == var.document_ttl
    error_message = "document_ttl is a whole number of seconds, 0 to 86400."
  }
}

variable "log_url" {
  description = "https:// address that log lines are posted to as newline-delimited JSON; empty for no log."
  type        = string
  default     = ""

  validation {
    condition     = var.log_url == "" || startswith(var.log_url, "https://")
    error_message = "Logs hold what every client did: they are only sent over https://."
  }
}

variable "log_authorization" {
  description = "Authorization header for log_url; empty for none."
  type        = string
  default     = ""
  sensitive   = true
}

variable "log_keys" {
  description = "Whether the log says client-side environment keys themselves, for billing by environment, instead of a keyed digest. Server keys never."
  type        = bool
  default     = false
}

variable "force_destroy" {
  description = "Whether terraform destroy may delete the service, and its dictionaries, while they are in use."
  type        = bool
  default     = false
}
