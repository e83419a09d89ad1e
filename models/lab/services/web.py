"""Web servers: nginx with files, an API, logins and slow places; behind it, inside, a shop with the usual holes."""

import os
import subprocess

from isolate import SOURCE

SIZES = {"tiny": 180, "page": 6_000, "image": 60_000, "big": 1_500_000, "huge": 5_000_000}
SEGMENTS = 12


def certificate(work, *addresses):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", f"{work}/key.pem", "-out", f"{work}/cert.pem", "-days", "2", "-subj", "/CN=lab.test",
                    "-addext", ",".join(["subjectAltName=DNS:lab.test", "DNS:*.lab.test", *(f"IP:{one}" for one in addresses)])], check=True, capture_output=True)
    os.chmod(f"{work}/key.pem", 0o644)


def nginx(network, host, rng):
    work = host.work
    root = f"{work}/www"
    os.makedirs(f"{root}/film")
    for name, size in SIZES.items():
        with open(f"{root}/{name}", "wb") as out:
            out.write(os.urandom(int(size * rng.uniform(0.6, 1.6))))
    for number in range(SEGMENTS):
        with open(f"{root}/film/{number}.ts", "wb") as out:
            out.write(os.urandom(int(200_000 * rng.uniform(0.5, 1.5))))
    objects = "".join(f'<img src="/image?{number}">' for number in range(6))
    with open(f"{root}/index.html", "w") as out:
        out.write(f'<html><head><title>lab</title><script src="/tiny?s"></script></head><body>{objects}'
                  f'<a href="/page">page</a> <a href="/shop/">shop</a> <a href="/docs/a.html">docs</a></body></html>')
    certificate(work, host.v4, host.v6, *host.more)
    password = subprocess.run(["openssl", "passwd", "-apr1", "correct-horse"], check=True, capture_output=True,
                              text=True).stdout.strip()
    with open(f"{work}/htpasswd", "w") as out:
        out.write(f"alice:{password}\n")
    pad = "x" * rng.randrange(400)
    places = f"""
        root {root}; client_max_body_size 60m; client_body_buffer_size 64k;
        location /api/ {{ default_type application/json; return 200 '{{"pad":"{pad}"}}'; }}
        location /metrics {{ default_type text/plain; return 200 'up 1\\nload {pad}\\n'; }}
        location /form {{ return 403 'Login failed'; }}
        location /upload {{ proxy_pass http://127.0.0.1:8199/; }}
        location /admin/ {{ auth_basic "lab"; auth_basic_user_file {work}/htpasswd; alias {root}/; }}
        location /slow/ {{ limit_rate {rng.choice([20, 60, 200])}k; alias {root}/; }}
        location /shop/ {{ proxy_pass http://127.0.0.1:8198/; }}
    """
    http, https = host.port["http"], host.port["https"]
    # A second address may serve something else on the same port.
    listen = "".join(f"listen {address}:{{0}}{{1}}; " for address in [host.v4, "127.0.0.1"]) + f"listen [{host.v6}]:{{0}}{{1}};"
    with open(f"{work}/nginx.conf", "w") as out:
        out.write(f"""
user root; worker_processes 1; daemon off; pid {work}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_timeout {rng.choice([2, 5, 15, 65])}; client_header_timeout {rng.choice([10, 20, 60])};
    client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
    server {{ listen 127.0.0.1:8199; client_max_body_size 60m; location / {{ return 200 'stored'; }} }}
    server {{ {listen.format(http, "")} {places} }}
    server {{ {listen.format(https, " ssl")}
              ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; {places} }}
}}
""")
    network.start(host, ["nginx", "-p", work, "-c", f"{work}/nginx.conf"])


def shop(network, host):
    network.start(host, ["python3", f"{SOURCE}/services/shop.py", "8198"])
