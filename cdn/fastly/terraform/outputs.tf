output "service_id" {
  description = "The service's id: SERVICE in what follows, and what the publisher needs to purge."
  value       = fastly_service_vcl.edge.id
}

output "active_version" {
  description = "Version of the service that is live."
  value       = fastly_service_vcl.edge.active_version
}

output "secrets_dictionary_id" {
  description = "The private dictionary that log_secret is put into."
  value       = one([for each in fastly_service_vcl.edge.dictionary : each.dictionary_id if each.name == "flagstream_secrets"])
}
