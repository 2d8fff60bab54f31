#!/usr/bin/env node
import { run, version } from '@outrider/core'
import { containers, isContainerName } from './containers.ts'
import { list } from './list.ts'
import { tour } from './tour.ts'

const help = `outrider ${version}: small containers that ride alongside your application

  outrider list                    what there is
  outrider <container> [--flags]   run one as a process, the same program as its image
  outrider <container> <command>   ask it something that starts nothing; --help lists its commands
  outrider <container> --help      its parameters
  outrider <container> --print pod|compose|env|schema
  outrider tour [--target <url>]   see each at work; with --target, in front of your application

For example: outrider sidecar-https --target http://127.0.0.1:3000 --listen 127.0.0.1:8443
`

// npm and npx put a shell between themselves and this program: a signal for them ends that, and nobody tells us.
if (process.env['npm_lifecycle_event'] !== undefined) {
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    process.kill(process.pid, 'SIGTERM')
  }, 500).unref()
}

const [command, ...rest] = process.argv.slice(2)
if (command === undefined || command === '--help' || command === '-h' || command === 'help') {
  process.stdout.write(help)
} else if (command === '--version') {
  process.stdout.write(`outrider ${version} (node ${process.version})\n`)
} else if (command === 'list') {
  process.stdout.write(await list())
} else if (command === 'tour' && (rest.includes('--help') || rest.includes('-h'))) {
  process.stdout.write(help)
} else if (command === 'tour') {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => (stop.signal.aborted ? process.exit(1) : stop.abort()))
  }
  const write = (text: string) => void process.stdout.write(text)
  const program = [process.execPath, ...process.execArgv, process.argv[1] ?? '']
  process.exitCode = await tour({ args: rest, program, env: process.env, stop: stop.signal, write })
} else if (isContainerName(command)) {
  // A person at a terminal reads text more easily; programs get JSON.
  const env = process.stdout.isTTY ? { LOG_FORMAT: 'text', ...process.env } : process.env
  await run((await containers[command]()).default, { argv: rest, env })
} else {
  process.stderr.write(
    `outrider: there is no "${command}"; containers: ${Object.keys(containers).join(', ')}\n`,
  )
  process.exitCode = 2
}
