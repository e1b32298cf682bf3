# DBD::Pg: statements are prepared at the server from their second use on; COPY; forked workers.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types :async);

$| = 1;
binmode STDOUT, ':utf8';

sub try_open { DBI->connect('dbi:Pg:', '', '', {RaiseError => 1, PrintError => 0, @_}) }

sub state_of {
    my ($db, $sql) = @_;
    return eval { $db->do($sql); 1 } ? 'none' : ($db->state || 'unknown');
}

sub one { my ($db, $sql, @values) = @_; ($db->selectrow_array($sql, undef, @values))[0] }

sub types {
    my $db = shift;
    my $st = $db->prepare("select ?::int8, ?::text, ?::bytea, 12345.6789::numeric, 1.5::float4,"
        . " 0.1::float8, timestamp '2024-02-29 12:34:56.789', '{\"a\": [1, 2]}'::jsonb, ?::int[],"
        . " null::int, true");
    $st->bind_param(1, '9007199254740993');
    $st->bind_param(2, "gr\x{fc}\x{df}e 'n \\");
    $st->bind_param(3, "\xde\xad\x00\xef", {pg_type => PG_BYTEA});
    $st->bind_param(4, [1, undef, 3]);
    $st->execute;
    my $row = $st->fetchrow_arrayref;
    for my $n (0 .. $#$row) {
        my $value = $row->[$n];
        $value = '[' . join(',', map { $_ // 'null' } @$value) . ']' if ref $value;
        $value = unpack('H*', $value) if $n == 2;
        print "types $st->{pg_type}[$n] ", $value // 'null', "\n";
    }
}

sub prepared {
    my $db = shift;
    my $sum = 0;
    my $st = $db->prepare('select ?::int');
    $sum += $db->selectrow_array($st, undef, $_) for 1 .. 20;
    print "prepared.repeated $sum\n";
    my @many = map { $db->prepare("select ?::int * $_", {pg_prepare_now => 1}) } 1 .. 200;
    $sum = 0;
    $sum += $db->selectrow_array($_, undef, 1) for @many;
    print "prepared.many $sum\n";
}

sub transactions {
    my $db = shift;
    my $count = 'select count(*) from driver_rows';
    $db->begin_work;
    $db->do('insert into driver_rows values (?)', undef, 1);
    $db->commit;
    print 'transactions.commit ', one($db, $count), "\n";
    $db->begin_work;
    $db->do('insert into driver_rows values (?)', undef, 2);
    $db->rollback;
    print 'transactions.rollback ', one($db, $count), "\n";
    $db->begin_work;
    print 'transactions.error ', state_of($db, 'select 1/0'), ' ', state_of($db, 'select 1'), "\n";
    $db->rollback;
    print 'transactions.after ', one($db, $count), "\n";
}

sub copy {
    my $db = shift;
    $db->do('truncate driver_rows');
    $db->do('copy driver_rows from stdin');
    $db->pg_putcopydata("$_\n") for 1 .. 10000;
    $db->pg_putcopyend;
    print 'copy.in ', one($db, 'select sum(n) from driver_rows'), "\n";
    $db->do('copy driver_rows to stdout');
    my ($line, $bytes) = ('', 0);
    $bytes += length $line while $db->pg_getcopydata(\$line) >= 0;
    print "copy.out $bytes\n";
    $db->do('copy driver_rows from stdin');
    $db->pg_putcopydata("x\n");
    eval { $db->pg_putcopyend };
    print 'copy.refused ', $db->state, "\n";
}

sub cancel {
    my $db = shift;
    my $st = $db->prepare('select pg_sleep(20)', {pg_async => PG_ASYNC});
    $st->execute;
    my $other = try_open();
    1 until one($other, q(select count(*) from pg_stat_activity where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'));
    $other->disconnect;
    eval { $db->pg_cancel };
    print 'cancel ', $db->state, "\n";
    print 'cancel.after ', one($db, 'select 1'), "\n";
}

sub large {
    my $db = shift;
    my $text = 'x' x $ENV{DRIVER_LARGE};
    my ($back, $n) = $db->selectrow_array('select t, length(t) from (select ?::text t) x', undef, $text);
    print "large $n ", $back eq $text ? 'same' : 'different', "\n";
}

sub terminated {
    my $db = shift;
    print 'terminated ',
        state_of($db, 'select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)'), "\n";
    $db->disconnect;
    $db = try_open();
    print 'terminated.after ', one($db, 'select 1'), "\n";
    $db->disconnect;
}

sub crowd {
    my @workers;
    for (1 .. 8) {
        my $pid = fork;
        push(@workers, $pid), next if $pid;
        my $db = try_open(AutoCommit => 0);
        for (1 .. 20) {
            $db->do('insert into driver_rows values (?)', undef, 0);
            $db->commit;
        }
        $db->disconnect;
        exit 0;
    }
    waitpid $_, 0 for @workers;
    my $db = try_open();
    print 'crowd ', one($db, 'select count(*) from driver_rows where n = 0'), "\n";
    $db->do('drop table driver_rows');
    $db->disconnect;
}

sub restart {
    my $db = try_open();
    one($db, 'select ?::int', 1);
    print "ready\n";
    <STDIN>;
    for (1 .. 600) {
        if (eval { $db->ping && one($db, 'select ?::int', 1) }) {
            print "restart works\n";
            $db->disconnect;
            return;
        }
        my $next = eval { try_open() };
        $db = $next if $next;
    }
}

if (@ARGV) {
    restart();
} else {
    my $db = try_open();
    $db->do('drop table if exists driver_rows');
    $db->do('create table driver_rows (n int)');
    types($db);
    prepared($db);
    transactions($db);
    copy($db);
    cancel($db);
    large($db);
    $db->do('truncate driver_rows');
    terminated($db);
    crowd();
}
