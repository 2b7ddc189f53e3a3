"""etcd, through its JSON gateway: a client, and a follower of a prefix. It knows nothing of servers and of pools."""
