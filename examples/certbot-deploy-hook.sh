#!/bin/sh
# certbot's deploy hook: copy to /etc/letsencrypt/renewal-hooks/deploy/lb.sh, executable.
#
# certbot's keys are readable by root only. The hook gives the balancer's group a copy of the renewed certificate and
# key, and reloads the balancer, which changes to both at once.
set -eu
group=trio-lb
to=/etc/trio-lb/tls/${RENEWED_LINEAGE##*/}
install -d -g "$group" -m 0750 /etc/trio-lb/tls "$to"
for name in fullchain privkey; do
    install -g "$group" -m 0640 "$RENEWED_LINEAGE/$name.pem" "$to/$name.new"
    mv "$to/$name.new" "$to/$name.pem"
done
systemctl try-reload-or-restart lb
