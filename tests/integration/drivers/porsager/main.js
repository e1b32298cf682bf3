// porsager/postgres: every query is prepared, queries are pipelined, connections come back alone.
const postgres = require("postgres");
const { pipeline } = require("stream/promises");
const { Readable } = require("stream");
const fs = require("fs");
const readline = require("readline");

const ca = process.env.DRIVER_CA;
const options = { onnotice: () => {}, max: 1 };
if (ca) options.ssl = { ca: fs.readFileSync(ca), servername: "localhost" };
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (...words) => console.log(words.join(" "));

async function state(query) {
  try {
    await query;
  } catch (error) {
    return error.code || error.message;
  }
  return "none";
}

const ASLEEP = "select count(*) from pg_stat_activity" +
  " where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'";
const count = async (sql) => (await sql`select count(*) from driver_rows`)[0].count;

async function types(sql) {
  const rows = await sql`select ${42}::int, ${"9007199254740993"}::int8, ${"grüße 'n \\"}::text,
    ${Buffer.from("deadbeef", "hex")}::bytea, 12345.6789::numeric, 1.5::float4, 0.1::float8,
    timestamp '2024-02-29 12:34:56.789', timestamptz '2024-02-29 12:34:56+00',
    ${sql.json({ a: [1, 2] })}::jsonb, ${[1, 2, 3]}::int[], null::int, true`.values();
  rows[0].forEach((value, n) => say("types", rows.columns[n].type, JSON.stringify(value)));
}

async function prepared(sql) {
  let sum = 0;
  for (let n = 1; n <= 20; n++) sum += (await sql`select ${n}::int as n`)[0].n;
  say("prepared.repeated", sum);
  const all = Array.from({ length: 200 }, (_, n) =>
    sql.unsafe(`select $1::int * ${n + 1} as n`, [1], { prepare: true }));
  say("prepared.many", (await Promise.all(all)).reduce((total, rows) => total + rows[0].n, 0));
}

async function transactions(sql) {
  await sql.begin((sql) => sql`insert into driver_rows values (1)`);
  say("transactions.commit", await count(sql));
  await state(sql.begin(async (sql) => {
    await sql`insert into driver_rows values (2)`;
    throw new Error("no");
  }));
  say("transactions.rollback", await count(sql));
  await state(sql.begin(async (sql) => {
    say("transactions.error", await state(sql`select 1/0`), await state(sql`select 1`));
  }));
  say("transactions.after", await count(sql));
}

async function copy(sql) {
  await sql`truncate driver_rows`;
  const lines = Array.from({ length: 10000 }, (_, n) => `${n + 1}\n`);
  await pipeline(Readable.from(lines), await sql`copy driver_rows from stdin`.writable());
  say("copy.in", (await sql`select sum(n) from driver_rows`)[0].sum);
  const reader = postgres(options); // the driver may keep a connection busy after a readable
  let bytes = 0;
  for await (const piece of await reader`copy driver_rows to stdout`.readable())
    bytes += piece.length;
  say("copy.out", bytes);
  await reader.end({ timeout: 0 });
}

// On a connection of its own: nothing tells when the request has ended.
async function cancel(sql) {
  const other = postgres(options);
  const query = other`select pg_sleep(20)`.execute();
  const end = state(query);
  while ((await sql.unsafe(ASLEEP))[0].count === "0");
  query.cancel();
  say("cancel", await end);
  await other.end({ timeout: 0 });
  say("cancel.after", (await sql`select 1 as n`)[0].n);
}

async function large(sql) {
  const text = "x".repeat(Number(process.env.DRIVER_LARGE));
  const [row] = await sql`select ${text}::text as t, length(${text}::text) as n`;
  say("large", row.n, row.t === text ? "same" : "different");
}

async function terminated(sql) {
  const why = await state(sql`select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)`);
  say("terminated", why);
  await sql.end({ timeout: 0 });
  const next = postgres(options);
  say("terminated.after", (await next`select 1 as n`)[0].n);
  await next.end();
}

async function crowd() {
  const sql = postgres({ ...options, max: 4 });
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let n = 0; n < 20; n++)
      await sql.begin((sql) => sql`insert into driver_rows values (${0})`);
  }));
  say("crowd", (await sql`select count(*) from driver_rows where n = 0`)[0].count);
  await sql`drop table driver_rows`;
  await sql.end();
}

async function restart() {
  const sql = postgres({ ...options, backoff: 0.05 });
  await sql`select ${1}::int`;
  say("ready");
  const input = readline.createInterface({ input: process.stdin });
  await new Promise((done) => input.once("line", done));
  input.close();
  for (let tries = 0; tries < 600; tries++) {
    if ((await state(sql`select ${1}::int`)) === "none") {
      say("restart works");
      return sql.end();
    }
    await pause(50);
  }
}

async function main() {
  const sql = postgres(options);
  await sql`drop table if exists driver_rows`;
  await sql`create table driver_rows (n int)`;
  await types(sql);
  await prepared(sql);
  await transactions(sql);
  await copy(sql);
  await cancel(sql);
  await large(sql);
  await sql`truncate driver_rows`;
  await terminated(sql);
  await crowd();
}

(process.argv[2] === "restart" ? restart() : main()).catch((error) => {
  console.log("FAILED", error.stack);
  process.exit(1);
});
