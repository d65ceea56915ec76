"""The swarm: processes of one epoll loop each, which hold streams as real clients do."""
