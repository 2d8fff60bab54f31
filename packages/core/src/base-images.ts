/** An image that containers stand on: `outrider/<its name>`, made by `docker/<its name>.Dockerfile`. */
export interface BaseImage {
  /** What begins the entry point, as process 1; without it that is the container itself. */
  readonly init: readonly string[]
  /** Whether there is a shell, for the programs that need one. */
  readonly hasShell: boolean
}

/** The common one first: the others stand on it. */
export const baseNames = ['base', 'git'] as const

export type BaseName = (typeof baseNames)[number]

export const baseImages: Readonly<Record<BaseName, BaseImage>> = {
  /** Node, and nothing else that could be run. */
  base: { init: [], hasShell: false },
  /** Besides, git over HTTPS and SSH, GnuPG and what scripts call. Tini reaps also where it is not process 1. */
  git: { init: ['/usr/bin/tini', '-s', '--'], hasShell: true },
}
