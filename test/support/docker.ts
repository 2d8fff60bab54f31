import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers'

const execute = promisify(execFile)

/** Runs the docker command; resolves with its trimmed output. */
export const docker = async (...args: string[]): Promise<string> =>
  (await execute('docker', args, { maxBuffer: 64 * 2 ** 20 })).stdout.trim()

/** As `docker`, but resolves with the exit code and both outputs whatever the code. */
export async function dockerResult(
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await execute('docker', args)) }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, stdout, stderr }
  }
}

/** What `docker inspect` says of an image or container, by a Go template that gives JSON. */
export const inspect = async (id: string, what: string): Promise<unknown> =>
  JSON.parse(await docker('inspect', '--format', `{{json ${what}}}`, id))

/** What the kernel says of the program in a container: `/proc/<pid>/status`; where an init is process 1, of its child. */
export async function processStatus(id: string): Promise<string> {
  const first = await inspect(id, '.State.Pid')
  const isInit = (await readFile(`/proc/${first}/comm`, 'utf8')).trim() === 'tini'
  const [child] = (await readFile(`/proc/${first}/task/${first}/children`, 'utf8')).split(' ')
  return readFile(`/proc/${isInit ? child : first}/status`, 'utf8')
}

/** A container as a pod would run it: read-only root, no capability, no new privileges. */
export class RidingContainer extends GenericContainer {
  constructor(image: string) {
    super(image)
    this.hostConfig.ReadonlyRootfs = true
    this.withDroppedCapabilities('ALL').withSecurityOpt('no-new-privileges:true')
    this.withWaitStrategy(Wait.forLogMessage('"msg":"started"')).withStartupTimeout(30_000)
  }
}

/** Its log lines so far. */
export async function logOf(container: StartedTestContainer): Promise<Record<string, unknown>[]> {
  const { stdout } = await execute('docker', ['logs', container.getId()])
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}
