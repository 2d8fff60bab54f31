import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** What the descriptors of a process point to. */
export const descriptors = (pid: number): string[] =>
  readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
    } catch {
      // Closed since the directory was read.
      return []
    }
  })

export const socketCount = (pid: number): number =>
  descriptors(pid).filter((target) => target.startsWith('socket:')).length

/** The ports on which a process listens, each with whether it is bound to loopback alone (proc_net_tcp(5)). */
export function listeningOn(pid: number): { port: number; loopback: boolean }[] {
  const own = new Set(descriptors(pid).map((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1]))
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((row) => row.trim().split(/\s+/))
      .filter((fields) => fields[3] === '0A' && own.has(fields[9]))
      .map((fields) => {
        const [host = '', port = ''] = (fields[1] ?? '').split(':')
        return { port: Number.parseInt(port, 16), loopback: /^(0100007F|0{24}01000000)$/.test(host) }
      }),
  )
}

/** Files on disk that a process has open for writing (proc(5), `flags` of fdinfo). */
export function filesOpenForWriting(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`)
      const flags = Number.parseInt(
        /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0',
        8,
      )
      const writable = (flags & 0o3) !== 0
      return writable && target.startsWith('/') && !target.startsWith('/dev/') ? [target] : []
    } catch {
      return []
    }
  })
}
