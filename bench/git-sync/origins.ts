import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../test/support/program.ts'
import { Program } from '../support/processes.ts'

/** Where the servers of git are, and what it takes to be let in. */
export interface Origins {
  readonly http: string
  readonly https: string
  readonly ssh: string
  /** Of https. */
  readonly caFile: string
  /** By ssh; `command` is for GIT_SSH_COMMAND. */
  readonly login: { readonly keyFile: string; readonly knownHostsFile: string; readonly command: string }
}

export type Transport = 'http' | 'https' | 'ssh' | 'file'

/** A repository by one transport. */
export interface Remote {
  readonly transport: Transport
  readonly url: string
  /** What git must be told to reach it. */
  readonly gitEnv: Readonly<Record<string, string>>
  /** The same for the container. */
  readonly ownEnv: Readonly<Record<string, string>>
}

/** Serves all repositories of a directory on the other core than what is measured. */
export class Servers implements AsyncDisposable {
  readonly #program: Program
  readonly #directory: string
  readonly #origins: Origins

  private constructor(program: Program, directory: string, origins: Origins) {
    this.#program = program
    this.#directory = directory
    this.#origins = origins
  }

  /** @param file where the servers may write down their addresses */
  static async start(directory: string, file: string): Promise<Servers> {
    const args = [join(import.meta.dirname, 'server.ts'), directory, file]
    const program = new Program({ program: process.execPath, args }, 'load')
    await until('the servers of git', () => {
      if (program.hasEnded) throw new Error(`the servers of git: ${program.complaints}`)
      return existsSync(file)
    })
    return new Servers(program, directory, JSON.parse(readFileSync(file, 'utf8')) as Origins)
  }

  /** @param name of a repository's directory */
  remote(transport: Transport, name: string): Remote {
    const { caFile, login, http, https, ssh } = this.#origins
    switch (transport) {
      case 'http':
        return { transport, url: `${http}/${name}`, gitEnv: {}, ownEnv: {} }
      case 'https': {
        const env = { GIT_SSL_CAINFO: caFile }
        return { transport, url: `${https}/${name}`, gitEnv: env, ownEnv: env }
      }
      case 'ssh':
        return {
          transport,
          url: `${ssh}/${name}`,
          gitEnv: { GIT_SSH_COMMAND: login.command },
          ownEnv: {
            GITSYNC_SSH_KEY_FILE: login.keyFile,
            GITSYNC_SSH_KNOWN_HOSTS_FILE: login.knownHostsFile,
          },
        }
      case 'file':
        return { transport, url: join(this.#directory, name), gitEnv: {}, ownEnv: {} }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.terminate()
    await this.#program[Symbol.asyncDispose]()
  }
}
