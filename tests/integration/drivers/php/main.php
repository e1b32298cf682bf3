<?php
// PHP: PDO with prepared statements of the server for most, the pgsql functions for COPY and cancel.

function dsn(): string
{
    return 'pgsql:host=' . getenv('PGHOST') . ';port=' . getenv('PGPORT') . ';dbname=' . getenv('PGDATABASE');
}

function connect(): PDO
{
    return new PDO(dsn(), getenv('PGUSER'), getenv('PGPASSWORD'),
                   [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function say(string $case, ...$values): void
{
    echo $case, ' ', implode(' ', $values), "\n";
}

function state(PDO $db, string $sql): string
{
    try {
        $db->query($sql);
        return 'none';
    } catch (PDOException $error) {
        return (string)$error->getCode();
    }
}

function one(PDO $db, string $sql, array $values = [])
{
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement->fetchColumn();
}

function count_rows(PDO $db)
{
    return one($db, 'select count(*) from driver_rows');
}

function types(PDO $db): void
{
    $statement = $db->prepare("select ?::int8, ?::text, ?::bytea, 12345.6789::numeric, 1.5::float4,
        0.1::float8, timestamp '2024-02-29 12:34:56.789', '{\"a\": [1, 2]}'::jsonb, ?::int[],
        null::int, true");
    $statement->bindValue(1, 42, PDO::PARAM_INT);
    $statement->bindValue(2, "grüße 'n \\");
    $statement->bindValue(3, "\xde\xad\x00\xef", PDO::PARAM_LOB);
    $statement->bindValue(4, '{1,NULL,3}');
    $statement->execute();
    foreach ($statement->fetch(PDO::FETCH_NUM) as $value) {
        say('types', is_resource($value) ? bin2hex(stream_get_contents($value)) : var_export($value, true));
    }
}

function prepared(PDO $db): void
{
    $sum = 0;
    $statement = $db->prepare('select ?::int');
    for ($n = 1; $n <= 20; $n++) {
        $statement->execute([$n]);
        $sum += $statement->fetchColumn();
    }
    say('prepared.repeated', $sum);
    $sum = 0;
    $many = [];
    for ($n = 1; $n <= 200; $n++) {
        $many[$n] = $db->prepare("select ?::int * $n");
    }
    foreach ($many as $statement) {
        $statement->execute([1]);
        $sum += $statement->fetchColumn();
    }
    say('prepared.many', $sum);
}

function transactions(PDO $db): void
{
    $db->beginTransaction();
    $db->exec('insert into driver_rows values (1)');
    $db->commit();
    say('transactions.commit', count_rows($db));
    $db->beginTransaction();
    $db->exec('insert into driver_rows values (2)');
    $db->rollBack();
    say('transactions.rollback', count_rows($db));
    $db->beginTransaction();
    say('transactions.error', state($db, 'select 1/0'), state($db, 'select 1'));
    $db->rollBack();
    say('transactions.after', count_rows($db));
}

function copying(PDO $db): void
{
    $db->exec('truncate driver_rows');
    $db->pgsqlCopyFromArray('driver_rows', range(1, 10000));
    say('copy.in', one($db, 'select sum(n) from driver_rows'));
    say('copy.out', strlen(implode('', $db->pgsqlCopyToArray('driver_rows'))));
}

function cancel(): void
{
    $db = pg_connect('');
    pg_send_query($db, 'select pg_sleep(20)');
    $other = connect();
    $running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'";
    while (!one($other, $running)) {
        continue;
    }
    unset($other);
    pg_cancel_query($db);
    say('cancel', 'asked');
    $result = pg_query_params($db, 'select $1::int', [1]);
    say('cancel.after', pg_fetch_result($result, 0, 0));
    pg_close($db);
}

function large(PDO $db): void
{
    $text = str_repeat('x', (int)getenv('DRIVER_LARGE'));
    $statement = $db->prepare('select t, length(t) from (select ?::text t) x');
    $statement->execute([$text]);
    [$back, $length] = $statement->fetch(PDO::FETCH_NUM);
    say('large', $length, $back === $text ? 'same' : 'different');
}

function terminated(PDO $db): void
{
    say('terminated', state($db, 'select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)'));
    say('terminated.after', one(connect(), 'select 1'));
}

function crowd(): void
{
    $workers = [];
    for ($n = 0; $n < 8; $n++) {
        $workers[$n] = pcntl_fork();
        if ($workers[$n] === 0) {
            $db = connect();
            for ($i = 0; $i < 20; $i++) {
                $db->beginTransaction();
                $db->prepare('insert into driver_rows values (?)')->execute([0]);
                $db->commit();
            }
            exit(0);
        }
    }
    foreach ($workers as $pid) {
        pcntl_waitpid($pid, $status);
    }
    $db = connect();
    say('crowd', one($db, 'select count(*) from driver_rows where n = 0'));
    $db->exec('drop table driver_rows');
}

function restart(): void
{
    $db = connect();
    one($db, 'select 1');
    echo "ready\n";
    fgets(STDIN);
    for ($tries = 0; $tries < 600; $tries++) {
        try {
            $db = $db ?? connect();
            one($db, 'select ?::int', [1]);
            echo "restart works\n";
            return;
        } catch (PDOException) {
            $db = null;
        }
    }
}

function main(): void
{
    $db = connect();
    $db->exec('drop table if exists driver_rows; create table driver_rows (n int)');
    types($db);
    prepared($db);
    transactions($db);
    copying($db);
    cancel();
    large($db);
    $db->exec('truncate driver_rows');
    terminated($db);
    unset($db);
    crowd();
}

$argc > 1 ? restart() : main();
