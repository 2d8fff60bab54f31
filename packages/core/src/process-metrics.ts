import { readdirSync, readFileSync } from 'node:fs'
import { Counter, Gauge, type Registry } from '@prometheus-io/client'

/**
 * What every process of ours says of itself, under the names that Prometheus' client libraries share. Our own, because
 * the client's default metrics wake an idle process a hundred times a second and have names that promtool refuses.
 */
export function collectProcessMetrics(registry: Registry): void {
  const registers = [registry]
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  const gauge = (name: string, help: string, read: () => number | undefined) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = read()
        if (value !== undefined) this.set(value)
      },
    })
  counter(
    'process_cpu_user_seconds_total',
    'CPU time spent in the program.',
    () => process.cpuUsage().user / 1e6,
  )
  counter(
    'process_cpu_system_seconds_total',
    'CPU time spent in the kernel.',
    () => process.cpuUsage().system / 1e6,
  )
  counter('process_cpu_seconds_total', 'CPU time spent.', () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  })
  const startedAt = Date.now() / 1000 - process.uptime()
  gauge('process_start_time_seconds', 'When the process started, Unix time.', () => startedAt)
  gauge('process_resident_memory_bytes', 'Memory in RAM, what is shared with other processes included.', () =>
    process.memoryUsage.rss(),
  )
  gauge('process_private_memory_bytes', 'Memory in RAM that is not backed by a file (RssAnon).', () =>
    kibibytes(readFile('/proc/self/status'), 'RssAnon'),
  )
  gauge('process_virtual_memory_bytes', 'Address space.', () =>
    kibibytes(readFile('/proc/self/status'), 'VmSize'),
  )
  gauge('process_open_fds', 'Open file descriptors.', openDescriptors)
  gauge('process_max_fds', 'Most file descriptors that may be open.', () =>
    numberIn(readFile('/proc/self/limits'), /^Max open files\s+(\d+)/m),
  )
  gauge(
    'nodejs_heap_size_total_bytes',
    'Heap that V8 has from the system.',
    () => process.memoryUsage().heapTotal,
  )
  gauge('nodejs_heap_size_used_bytes', 'Heap in use.', () => process.memoryUsage().heapUsed)
  gauge(
    'nodejs_external_memory_bytes',
    'Memory of buffers and C++ objects.',
    () => process.memoryUsage().external,
  )
  let last = performance.eventLoopUtilization()
  gauge(
    'nodejs_eventloop_utilization_ratio',
    'Share of time the event loop was busy since the last scrape.',
    () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, last)
      last = now
      return utilization
    },
  )
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Not Linux, or hidden: the metric stays at 0.
    return ''
  }
}

const numberIn = (text: string, pattern: RegExp): number | undefined => {
  const found = pattern.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}

function kibibytes(status: string, field: string): number | undefined {
  const amount = numberIn(status, new RegExp(`^${field}:\\s+(\\d+) kB`, 'm'))
  return amount === undefined ? undefined : amount * 1024
}

function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return undefined
  }
}
