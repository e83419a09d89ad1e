"""Data bases, caches, brokers and the small things that talk to them."""

from honest.habit import PASSWORD, Habit

QUESTIONS = ["SELECT 1", "SELECT * FROM item", "SELECT COUNT(*) FROM item a, item b",
             "INSERT INTO item VALUES (9, REPEAT('y', 100))", "DELETE FROM item WHERE id = 9"]


def mysql_use(actor, server):
    """An application: a few statements a connection, or one session for long."""
    rng = actor.rng
    words = ["mariadb", "-h", server.v4, "-u", "alice", f"-p{PASSWORD}", "--skip-ssl", "shop"]
    if rng.random() < 0.4:
        process = actor.spawn(words, stdin=True)
        for _ in range(rng.randrange(2, 25)):
            process.stdin.write((rng.choice(QUESTIONS) + ";\n").encode())
            process.stdin.flush()
            if not actor.pause(rng.expovariate(1 / 0.7)):
                break
        return
    for _ in range(rng.randrange(1, 10)):
        actor.run([*words, "-e", "; ".join(rng.choice(QUESTIONS) for _ in range(rng.randrange(1, 5)))], 10)
        if not actor.pause(rng.expovariate(1 / 0.5)):
            return


def mysql_dump(actor, server):
    actor.run(["mariadb-dump", "-h", server.v4, "-u", "alice", f"-p{PASSWORD}", "--skip-ssl", "--single-transaction", "shop"],
              20)


def postgres_use(actor, server):
    rng = actor.rng
    words = ["psql", "-q", "-h", server.v4, "-U", "postgres", "-d", "postgres"]
    for _ in range(rng.randrange(1, 8)):
        question = rng.choice(["SELECT 1", "SELECT repeat('x', 3000) FROM generate_series(1, 20)", "SELECT now()",
                               "SELECT * FROM pg_class"])
        actor.run([*words, "-c", question], 10, env={"PGPASSWORD": PASSWORD, "PAGER": "cat"})
        if not actor.pause(rng.expovariate(1 / 0.5)):
            return


def redis_use(actor, server):
    """A cache: one connection a command, or one for many."""
    rng = actor.rng
    words = ["redis-cli", "-h", server.v4, "-p", server.port["redis"]]
    if server.redis_secret and rng.random() < 0.9:
        words += ["-a", PASSWORD]
    if rng.random() < 0.4:
        actor.run([*words, "-r", rng.randrange(3, 60), "-i", rng.choice(["0.01", "0.2", "1"]), "incr", "hits"], 20)
        return
    for _ in range(rng.randrange(1, 25)):
        actor.run([*words, *rng.choice([["get", "x"], ["set", "x", "v" * rng.randrange(1, 400)], ["ping"], ["info"]])], 5)
        if not actor.pause(rng.expovariate(1 / 0.3)):
            return


def memcached_use(actor, server):
    rng = actor.rng
    with actor.tcp(server.v4, 11211) as client:
        for _ in range(rng.randrange(2, 40)):
            value = b"v" * rng.randrange(1, 2000)
            client.sendall(rng.choice([b"get k\r\n", b"set k 0 60 %d\r\n%s\r\n" % (len(value), value), b"stats\r\n"]))
            client.recv(65536)
            if not actor.pause(rng.expovariate(1 / 0.2)):
                return


def mqtt_use(actor, server):
    rng = actor.rng
    at = ["-h", server.v4, "-p", server.port["mqtt"], "-t", f"lab/{rng.randrange(5)}"]
    if rng.random() < 0.3:
        actor.run(["mosquitto_sub", *at, "-W", rng.randrange(5, 40), "-k", rng.choice([5, 60])], 45)
        return
    for _ in range(rng.randrange(1, 12)):
        actor.run(["mosquitto_pub", *at, "-q", rng.randrange(3), "-m", "s" * rng.randrange(1, 300)], 5)
        if not actor.pause(rng.choice([0.2, 1, 3])):
            return


def sensor(actor, server):
    """A chatty thing: one connection, a value every so often, exactly."""
    rng = actor.rng
    process = actor.spawn(["mosquitto_pub", "-h", server.v4, "-p", server.port["mqtt"], "-t", "lab/s", "-l", "-k", 10],
                          stdin=True)
    for _ in actor.every(rng.choice([0.1, 0.5, 1, 5]), rng.choice([0, 0, 0.05])):
        process.stdin.write(b"%d\n" % rng.randrange(100_000))
        process.stdin.flush()


HABITS = [
    Habit(mysql_use, 4, "mariadb", ("mysql",)), Habit(mysql_dump, 1, "mariadb", ("mysql",)),
    Habit(postgres_use, 4, "psql", ("postgres",)), Habit(redis_use, 4, "redis-cli", ("redis",)),
    Habit(memcached_use, 2, "ours", ("memcached",)), Habit(mqtt_use, 4, "mosquitto_pub", ("mqtt",)),
    Habit(sensor, 4, "mosquitto_pub", ("mqtt",), 45),
]
