import { access, constants } from 'node:fs/promises'
import type { Access, Credential, SshAccess } from '@outrider/git-mirror'
import { askpass } from './askpass.ts'
import { type CredentialSource, readCredentials } from './credential-list.ts'
import type { GitHubApp } from './github-app.ts'
import { hostOf } from './repo-credentials.ts'

export interface AccessSettings {
  readonly repo: string
  /** Of the repository and of those of its submodules. */
  readonly credentials: readonly CredentialSource[]
  /** Asked before each sync of a repository of HTTP. */
  readonly askpassUrl?: URL
  readonly onAskpass?: (outcome: 'success' | 'error') => void
  readonly app?: GitHubApp
  readonly cookieFile?: string
  readonly ssh: SshSettings
  /** Called with every secret that was read. */
  readonly onSecret: (secret: string) => void
}

export interface SshSettings {
  /** Where `isDefault`, those that are not there are left out; for HTTP also those that cannot be read. */
  readonly keyFiles: readonly string[]
  readonly isDefault: boolean
  readonly knownHosts: boolean
  readonly knownHostsFile: string
  /** The command that GIT_SSH_COMMAND names already. */
  readonly command?: string
}

/** Reads all that opens the repository as it is now, so that what was renewed is used at the next sync. */
export async function readAccess(settings: AccessSettings): Promise<Access> {
  const { credentials: sources, askpassUrl, onAskpass, app, cookieFile } = settings
  const credentials: Credential[] = await readCredentials(sources)
  // For the host, where the repositories of submodules are too, as the peer has it.
  const url = hostOf(settings.repo)
  if (askpassUrl !== undefined && url !== undefined)
    credentials.push({ url, ...(await asked(askpassUrl, onAskpass)) })
  if (app !== undefined && url !== undefined) credentials.push({ url, ...(await app.login()) })
  for (const { password } of credentials) if (password !== '') settings.onSecret(password)
  return {
    credentials,
    ssh: await sshAccess(settings.ssh, url === undefined),
    ...(cookieFile !== undefined && { cookieFile }),
  }
}

async function asked(
  url: URL,
  report: AccessSettings['onAskpass'],
): Promise<{ readonly username: string; readonly password: string }> {
  try {
    const login = await askpass(url)
    report?.('success')
    return login
  } catch (error) {
    report?.('error')
    throw error
  }
}

async function sshAccess(
  { keyFiles, isDefault, knownHosts, knownHostsFile, command }: SshSettings,
  isNeeded: boolean,
): Promise<SshAccess> {
  const looks = await Promise.all(keyFiles.map(async (file) => ({ file, fault: await faultOf(file) })))
  const bad = looks.find(({ fault }) => {
    const isMissing = fault === 'ENOENT' || fault === 'ENOTDIR'
    return fault !== undefined && !(isDefault && (isMissing || !isNeeded))
  })
  if (bad !== undefined)
    throw new Error(
      `the SSH key ${bad.file} cannot be read (${bad.fault}): mount it there, readable for this user (fsGroup in Kubernetes)`,
    )
  return {
    keyFiles: looks.filter(({ fault }) => fault === undefined).map(({ file }) => file),
    strict: knownHosts,
    knownHostsFile: knownHosts ? knownHostsFile : '/dev/null',
    ...(command !== undefined && { command }),
  }
}

/** The system's name of what is wrong with reading a file; undefined where nothing is. */
async function faultOf(file: string): Promise<string | undefined> {
  try {
    await access(file, constants.R_OK)
    return undefined
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}
