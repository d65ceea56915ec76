# terraform init && terraform apply, with FASTLY_API_KEY set to a token that may change services.

terraform {
  required_providers {
    fastly = {
      source  = "fastly/fastly"
      version = ">= 1.1.4"
    }
  }
}

provider "fastly" {}

module "edge" {
  source = "../"

  name         = "flagstream"
  domains      = ["flags.example.com"]
  origin       = { host = "streams.example.com" }
  waiting_room = { host = "waiting-room.example.net" }
  shield       = "amsterdam-nl"
  log_url      = "https://logs.example.com/fastly"
}

output "service_id" {
  value = module.edge.service_id
}

output "secrets_dictionary_id" {
  value = module.edge.secrets_dictionary_id
}
