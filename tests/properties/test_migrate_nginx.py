"""Whatever directives stand together in nginx's blocks, what they become is accepted by ``lb check``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.config.load import ConfigError, parse
from lb.tools.migrate.formats import FORMATS
from lb.tools.migrate.main import OF_THIS_MACHINE
from lb.tools.migrate.toml_text import toml_text

EVERYWHERE = """
add_header X-Frame-Options DENY always
add_header Link "</a>; rel=preload"
add_header Link "</b>; rel=preload"
add_header X-Cache $upstream_cache_status
add_header X-Who "$remote_addr $upstream_addr $upstream_http_x"
expires 30d
expires -1
expires $when
gzip on
gzip off
gzip_types text/css
root /srv/www
index index.html index.htm
client_max_body_size 10m
client_max_body_size 0
keepalive_timeout 65 60
keepalive_timeout 0
client_body_timeout 30s
send_timeout 2m
access_log off
access_log /var/log/nginx/a.log main
limit_req zone=one burst=5 nodelay
limit_req zone=two
limit_conn conns 10
limit_conn all 100
limit_rate 500k
limit_rate $speed
limit_rate_after 1m
allow 10.0.0.0/8
deny 10.1.0.0/16
allow all
deny all
auth_basic "Staff"
auth_basic off
auth_basic_user_file htpasswd
auth_request /verify
auth_request off
auth_request_set $who $upstream_http_x_user
proxy_set_header Host $host
proxy_set_header Host $proxy_host
proxy_set_header Host example.net
proxy_set_header Host $upstream_host
proxy_set_header X-User $who
proxy_set_header X-User $http_x_user
proxy_set_header X-Real-IP $remote_addr
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for
proxy_set_header X-Json '{"a": {b}}'
proxy_set_header X-Word "{word}"
proxy_set_header Cookie ""
proxy_set_header Upgrade $http_upgrade
proxy_hide_header X-Powered-By
proxy_hide_header X-Frame-Options
proxy_cache zone
proxy_cache other
proxy_cache off
proxy_cache_key $scheme$proxy_host$request_uri
proxy_cache_key $host$uri$is_args$args$cookie_a$http_accept_language$arg_x
proxy_cache_key constant
proxy_cache_key $upstream_x
proxy_cache_valid 200 301 10m
proxy_cache_valid any 1m
proxy_cache_valid 5m
proxy_cache_use_stale error timeout invalid_header updating http_500 http_429
proxy_cache_use_stale off
proxy_cache_bypass $cookie_nocache $arg_nocache$arg_comment $http_pragma
proxy_no_cache $http_authorization
proxy_cache_min_uses 3
proxy_cache_lock on
proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Expires X-Accel-Limit-Rate
proxy_connect_timeout 5s
proxy_read_timeout 1h
proxy_read_timeout 0
proxy_next_upstream error timeout http_500 non_idempotent
proxy_next_upstream off
proxy_next_upstream_tries 3
proxy_next_upstream_tries 1
proxy_bind 10.0.0.9
proxy_bind $remote_addr transparent
proxy_ssl_verify on
proxy_ssl_name inner
proxy_ssl_server_name on
proxy_redirect off
proxy_cookie_path / /a
error_page 404 /404.html
large_client_header_buffers 4 16k
client_header_timeout 10
set $name a
set $name $host
resolver 127.0.0.1
sub_filter a b
slice 1m
slice 512
""".strip().splitlines()
OF_A_PLACE = """
return 301 https://$host$request_uri
return 302 /b?x=$arg_y
return 200 "hello {host} {word}"
return 204
return 403
return 444
return 418 $hostname
return 301 "/a b"
rewrite ^/a/(.*)$ /$1 break
rewrite ^/(.*)$ /b/$1 break
rewrite ^ https://example.net$request_uri? permanent
rewrite ^/x$ /y permanent
rewrite ^/x/(.*)$ /y/$1 last
try_files $uri $uri/ =404
try_files $uri /index.html
try_files $uri @app
if ($request_method = OPTIONS) { add_header A b; return 204; }
if ($request_method !~ ^(GET|HEAD)$) { return 405; }
if ($http_user_agent ~* bot) { return 403; }
if ($host = www.example.com) { return 301 https://example.com$request_uri; }
if ($host != example.com) { return 301 $scheme://example.com$request_uri; }
if ($scheme != https) { return 301 https://$host$request_uri; }
if ($host ~ ^www\\.example\\.com$) { rewrite ^(.*)$ https://example.com$1 permanent; }
""".strip().splitlines()
OF_A_LOCATION = """
proxy_pass http://app
proxy_pass http://app/
proxy_pass http://app/b/
proxy_pass http://app/b/ä
proxy_pass "http://app/a b/"
proxy_pass https://app
proxy_pass http://10.0.0.7
proxy_pass http://10.0.0.7:81/c
proxy_pass https://[2001:db8::1]
proxy_pass https://api.example.net/v1/
proxy_pass http://unix:/run/app.sock
proxy_pass http://unix:/run/app.sock:/b/
proxy_pass http://$name
proxy_pass http://$name$request_uri
proxy_pass $unknown
alias /srv/other/
alias /srv/$host
fastcgi_pass unix:/run/php.sock
uwsgi_pass app
internal
limit_except GET POST { deny all; }
limit_except GET { allow 10.0.0.0/8; deny all; }
secure_link $arg_a
stub_status
default_type application/json
location /a/b/c { proxy_pass http://app; }
""".strip().splitlines()
LOCATIONS = (
    *("/", "/a", "/a/", "/a/b/", "= /", "= /a", "^~ /a/", "~ ^/(a|b)/", "~* \\.php$", "~ /\\.", "/ä/", "/a%20b/"),
    *('"/a b/"', "@app"),
)
LISTENS = (
    *("80", "8080", "443 ssl", "127.0.0.1:80", "[::]:80", "unix:/run/lb.sock", "80 proxy_protocol", "81 backlog=64"),
)
NAMES = (
    *("example.com", "www.example.com example.com", "*.example.com", ".example.net", "~^x", "_", "Example.ORG"),
    "ü.example",
)
SERVERS = """
server 10.0.0.1
server 10.0.0.2:81 weight=2 max_fails=2 fail_timeout=5s
server 10.0.0.3 backup max_conns=10
server inner.example:8000 down
server unix:/run/a.sock
least_conn
ip_hash
hash $request_uri consistent
hash $http_x_user
hash $foo$bar
random
sticky cookie srv expires=1h
keepalive 8
zone app 64k
""".strip().splitlines()
HEAD = """
limit_req_zone $binary_remote_addr zone=one:10m rate=10r/s; limit_req_zone $server_name zone=two:1m rate=1r/s;
limit_conn_zone $binary_remote_addr zone=conns:1m; limit_conn_zone $server_name zone=all:1m;
proxy_cache_path /var/cache/nginx keys_zone=zone:10m inactive=1d;
"""


def some(lines, most):
    return st.lists(st.sampled_from(lines), max_size=most).map(
        lambda found: " ".join(each if each.endswith("}") else f"{each};" for each in found)
    )


def block(name, content):
    return st.builds(lambda head, lines: f"{head} {{ {lines} }}", name, content)


def many(blocks, most):
    return st.lists(blocks, min_size=1, max_size=most).map(" ".join)


LOCATION = block(st.sampled_from(LOCATIONS).map("location {}".format), some(EVERYWHERE + OF_A_PLACE + OF_A_LOCATION, 6))
SERVER = st.builds(
    "server {{ listen {}; server_name {}; {} {} }}".format,
    st.sampled_from(LISTENS),
    st.sampled_from(NAMES),
    some(EVERYWHERE + OF_A_PLACE, 3),
    many(LOCATION, 3),
)
UPSTREAM = some(SERVERS, 5).map("upstream app {{ server 10.0.0.4:8000; {} }}".format)
HTTP = st.builds("http {{ {} {} {} {} }}".format, st.just(HEAD), some(EVERYWHERE, 3), UPSTREAM, many(SERVER, 3))


@pytest.fixture(scope="module")
def path():
    with tempfile.TemporaryDirectory() as home:
        yield Path(home) / "nginx.conf"


@given(HTTP)
def test_what_comes_out_is_valid(path, text):
    path.write_text(text)
    migration = FORMATS["nginx"].translate(path)
    migrated = toml_text(migration.draft)
    try:
        parse(migrated, str(path.with_name("lb.toml")))
    except ConfigError as error:
        complaints = [each for each in error.errors if not any(known in each for known in OF_THIS_MACHINE)]
    else:
        complaints = []
    assert complaints == [], migrated
