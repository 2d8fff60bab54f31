/** A user and a password for the URLs that git finds to fit `url` (gitcredentials(7), "credential contexts"). */
export interface Credential {
  readonly url: string
  readonly username: string
  readonly password: string
}

/** How git comes to the remote and to those of its submodules. */
export interface Access {
  readonly credentials?: readonly Credential[]
  readonly ssh?: SshAccess
  /** Netscape's or HTTP header format, read only. */
  readonly cookieFile?: string
}

export interface SshAccess {
  readonly keyFiles: readonly string[]
  readonly knownHostsFile?: string
  /** Refuses hosts whose key is not in the known hosts file. */
  readonly strict: boolean
  /** The command to extend, `ssh` by default; a text for the shell, as in GIT_SSH_COMMAND. */
  readonly command?: string
}
