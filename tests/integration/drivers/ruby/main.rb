# ruby-pg: libpq without blocking Ruby's threads; type maps; COPY; pipelines.
require "pg"

$stdout.sync = true

def state(db, sql)
  db.exec(sql)
  "none"
rescue PG::Error => error
  error.result&.error_field(PG::PG_DIAG_SQLSTATE) || error.class.name
end

def one(db, sql, values = [])
  db.exec_params(sql, values).getvalue(0, 0)
end

def count(db) = one(db, "select count(*) from driver_rows")

def types(db)
  db.type_map_for_results = PG::BasicTypeMapForResults.new(db)
  result = db.exec_params(
    "select $1::int8, $2::text, $3::bytea, 12345.6789::numeric, 1.5::float4, 0.1::float8," \
    " timestamp '2024-02-29 12:34:56.789', timestamptz '2024-02-29 12:34:56+00'," \
    " '{\"a\": [1, 2]}'::jsonb, $4::int[], null::int, true",
    [9007199254740993, "grüße 'n \\", { value: "\xde\xad\x00\xef".b, format: 1 }, "{1,NULL,3}"])
  result.values[0].each_with_index { |value, n| puts "types #{result.ftype(n)} #{value.inspect}" }
end

def prepared(db)
  db.prepare("repeated", "select $1::int")
  puts "prepared.repeated #{(1..20).sum { |n| db.exec_prepared("repeated", [n]).getvalue(0, 0) }}"
  (1..200).each { |n| db.prepare("many #{n}", "select $1::int * #{n}") }
  puts "prepared.many #{(1..200).sum { |n| db.exec_prepared("many #{n}", [1]).getvalue(0, 0) }}"
end

def transactions(db)
  db.transaction { |c| c.exec("insert into driver_rows values (1)") }
  puts "transactions.commit #{count(db)}"
  begin
    db.transaction do |c|
      c.exec("insert into driver_rows values (2)")
      raise "no"
    end
  rescue RuntimeError
    puts "transactions.rollback #{count(db)}"
  end
  db.exec("begin")
  puts "transactions.error #{state(db, "select 1/0")} #{state(db, "select 1")}"
  db.exec("rollback")
  puts "transactions.after #{count(db)}"
end

def copy(db)
  db.exec("truncate driver_rows")
  db.copy_data("copy driver_rows from stdin") { (1..10000).each { |n| db.put_copy_data("#{n}\n") } }
  puts "copy.in #{one(db, "select sum(n)::int from driver_rows")}"
  bytes = 0
  db.copy_data("copy driver_rows to stdout") do
    while (row = db.get_copy_data)
      bytes += row.length
    end
  end
  puts "copy.out #{bytes}"
  begin
    db.copy_data("copy driver_rows from stdin") { db.put_copy_data("x\n") }
  rescue PG::Error => error
    puts "copy.refused #{error.result.error_field(PG::PG_DIAG_SQLSTATE)}"
  end
end

def cancel(db)
  waker = Thread.new do
    other = PG.connect
    running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'"
    nil until one(other, running).to_i == 1
    other.close
    db.cancel
  end
  puts "cancel #{state(db, "select pg_sleep(20)")}"
  waker.join
  puts "cancel.after #{one(db, "select 1")}"
end

def large(db)
  text = "x" * ENV["DRIVER_LARGE"].to_i
  back, length = db.exec_params("select $1::text, length($1::text)", [text]).values[0]
  puts "large #{length} #{back == text ? "same" : "different"}"
end

def terminated(db)
  puts "terminated #{state(db, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)")}"
  db.reset
  puts "terminated.after #{one(db, "select 1")}"
  db.close
end

def crowd
  Array.new(8) do
    Thread.new do
      db = PG.connect
      20.times { db.transaction { |c| c.exec_params("insert into driver_rows values ($1)", [0]) } }
      db.close
    end
  end.each(&:join)
  db = PG.connect
  puts "crowd #{one(db, "select count(*) from driver_rows where n = 0")}"
  db.exec("drop table driver_rows")
  db.close
end

def restart
  db = PG.connect
  db.exec("select 1")
  puts "ready"
  $stdin.gets
  600.times do
    one(db, "select 1")
    puts "restart works"
    return
  rescue PG::Error
    begin
      db.reset
    rescue PG::Error
      next
    end
  end
end

def main
  db = PG.connect
  db.set_notice_processor { |_| }
  db.exec("drop table if exists driver_rows; create table driver_rows (n int)")
  types(db)
  prepared(db)
  transactions(db)
  copy(db)
  cancel(db)
  large(db)
  db.exec("truncate driver_rows")
  terminated(db)
  crowd
end

ARGV.empty? ? main : restart
