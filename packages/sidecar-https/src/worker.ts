import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { optionsOf } from './settings.ts'
import { type HttpsSidecar, startHttpsSidecar } from './sidecar.ts'
import {
  type FromWorker,
  portable,
  type ToWorker,
  unpackedChange,
  unpackedSettings,
  type WorkerStart,
} from './worker-messages.ts'
import { WorkerReporter } from './worker-reporter.ts'

/** What has been cut off closes within a turn of the event loop; what never does shall not keep the thread. */
const CLOSE_MS = 500
const LOOK_MS = 10

// The program of one thread of `startHttpsWorkers`. What it throws ends the thread and is told to the parent.

if (parentPort === null) throw new Error('this is a thread of startHttpsWorkers and no program of its own')
const parent = parentPort
const start: WorkerStart = workerData
const tell = (message: FromWorker): void => parent.postMessage(message)

const reporter = new WorkerReporter(start.gauges, (reports) => tell({ reports }))
const sidecar = await startHttpsSidecar({
  ...optionsOf(unpackedSettings(start.settings)),
  onRequest: (report) => reporter.add('requests', portable(report)),
  onTunnel: (report) => reporter.add('tunnels', report),
  onPipe: (report) => reporter.add('pipes', portable(report)),
  onHandshake: (report) => reporter.add('handshakes', portable(report)),
  onConnections: (open) => reporter.connections(open),
})
reporter.watch(sidecar)
parent.on('message', (message: ToWorker) => {
  if (message === 'drain') void end(sidecar, () => sidecar.drain())
  else if (message === 'close') void end(sidecar, () => sidecar[Symbol.asyncDispose]())
  else use(message)
})
tell({ listening: sidecar.address })

function use(message: Extract<ToWorker, object>): void {
  const { certificates, authorities, targetTls, ticketKeys } = unpackedChange(message.use)
  if (certificates !== undefined) sidecar.useCertificates(certificates)
  if (authorities !== undefined) sidecar.useAuthorities(authorities)
  if (targetTls !== undefined) sidecar.useTargetTls(targetTls)
  if (ticketKeys !== undefined) sidecar.useTicketKeys(ticketKeys)
}

async function end(ending: HttpsSidecar, how: () => Promise<void>): Promise<void> {
  await how()
  await ending[Symbol.asyncDispose]()
  // Connections to the application close, and are reported, behind those of the clients.
  const latest = performance.now() + CLOSE_MS
  do await delay(LOOK_MS)
  while (ending.inFlight > 0 && performance.now() < latest)
  reporter.end()
  tell('ended')
  // With nothing left to wait for, the thread ends by itself: one that is terminated has been seen to take the process
  // with it (nodejs/node#56312).
  parent.close()
}
