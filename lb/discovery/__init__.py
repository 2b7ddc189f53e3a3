"""Discovery of servers: DNS, files, etcd and Kubernetes."""
