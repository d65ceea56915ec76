vcl 4.1;

# Flagstream at the edge, for Varnish 7. site.vcl says where the origins are; policy.vcl holds the rules.
include "./site.vcl";
include "./policy.vcl";
