import { mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { type BenchOptions, select } from './options.ts'
import { ambassadorShard } from './peers/ambassador-shard.ts'
import { direct, redisPackage } from './peers/redis-server.ts'
import { twemproxy } from './peers/twemproxy.ts'
import { type Outcome, reachTable } from './shard/reach.ts'
import { redisBenchmark } from './shard/redis-benchmark.ts'
import { Keys, keyCount, Shards } from './shard/servers.ts'
import { shardWorkloads } from './shard/workloads.ts'
import { comparison } from './support/comparison.ts'
import { installPrograms, versionOf } from './support/install.ts'
import { measure } from './support/measure.ts'
import { freePort } from './support/probes.ts'
import { placement, temporaryDirectory } from './support/processes.ts'
import { hottest, profiling } from './support/profile.ts'
import { inTurns } from './support/turns.ts'

const shardCount = 4
const every = [ambassadorShard, twemproxy, direct]
const parties = { own: ambassadorShard.name, reference: twemproxy.name, direct: direct.name }
const terms = { unit: 'operation', reference: twemproxy.name, direct: direct.name }

/** The ambassador beside twemproxy and beside no proxy at all, in turns on the same core. */
export async function shard(options: BenchOptions): Promise<string> {
  const { rounds, seconds, warmUpSeconds } = options
  const chosen = select('--only', shardWorkloads, options.only)
  const subjects = select('--subjects', every, options.subjects)
  const programs = [
    redisPackage,
    { name: 'redis-tools', program: 'redis-benchmark' },
    ...subjects.flatMap(({ debian }) => debian ?? []),
  ]
  await installPrograms(programs)
  const directory = temporaryDirectory()
  await using shards = await Shards.start(shardCount, directory)

  const outcomes: Outcome[] = []
  for (const workload of chosen) {
    const profiles = join(directory, `profiles-${workload.name}`)
    mkdirSync(profiles)
    const nodeArgs = options.profile ? profiling(profiles) : []
    const turns = { name: workload.name, rounds, directory }
    const measured = await inTurns(subjects, turns, async (subject, own) => {
      const port = await freePort()
      const servers = subject.isDirect ? [{ name: 'redis', port }] : shards.servers
      return measure(
        subject,
        { directory: own, port, servers, nodeArgs },
        {
          load: redisBenchmark(workload),
          seconds,
          warmUpSeconds,
          tls: false,
          application: new Keys(servers, workload.valueBytes),
          countedPerRequest: undefined,
          refusal: undefined,
          core: subject.isDirect ? 'load' : 'measured',
        },
      )
    })
    if (options.profile) console.log(`\n${hottest(profiles)}\n`)
    outcomes.push({ workload, rounds: measured })
  }
  const versions = await Promise.all(programs.map(versionOf))
  const tables = outcomes.map(
    ({ workload: { title, remark }, rounds }) =>
      `### ${title}\n\n${remark}\n\n${comparison(rounds, terms)}\n`,
  )
  return [
    `Medians of ${rounds} rounds in turns, ${seconds} s each, on ${cpus().length} cores: ${placement('clients and Redis')}`,
    ...notes,
    `Node ${process.version}, ${[...new Set(versions)].join(', ')}.`,
    '',
    reachTable(outcomes, parties),
    '',
    ...tables,
  ].join('\n')
}

const notes = [
  `By redis-benchmark, over ${keyCount.toLocaleString('en')} random keys on ${shardCount} shards, which both proxies find by ketama over fnv1a_64.`,
  'CPU is the user and system time of the proxy, of `direct` that of the server, by the operations that redis-benchmark had',
  'done; a command of many keys is one operation. A ratio is the median of the ratios to the other in the same round.',
  'Private memory is RssAnon under load, of `direct` with all keys. `direct` is one redis-server in the place of the four, on',
  "their core beside the clients: the proxy's core does nothing then. In pipelines latency is that of all commands sent at once.",
  'The targets are: CPU of 0.95 x twemproxy for one command at a time, 0.55 x in pipelines, 1.00 x for commands of many keys;',
  'p99 of 1.00 x; and where twemproxy itself comes to it, throughput of 0.90 x `direct`. What was missed is bold.',
]
