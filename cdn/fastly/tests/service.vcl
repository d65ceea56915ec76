# What the service puts around flagstream.vcl, for falco: `falco -I .. lint service.vcl`.

# #FASTLY recv chooses it, which falco does not see.
// falco-ignore-next-line unused/declaration
backend F_origin {
  .host = "origin.example.com";
  .port = "443";
  .ssl = true;
}

backend F_waiting_room {
  .host = "waiting-room.example.com";
  .port = "443";
  .ssl = true;
}

table flagstream_settings {
  "document_ttl": "0",
  "log_keys": "0",
}

table flagstream_secrets {
}

include "flagstream";
