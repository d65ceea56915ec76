# What the service puts around flagstream.vcl, for falco: `falco -I .. lint service.vcl`.

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

# #FASTLY recv chooses between them by conditions; this says that both are used.
table backends BACKEND {
  "origin": F_origin,
  "waiting room": F_waiting_room,
}

include "flagstream";
