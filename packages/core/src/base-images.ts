/** An image that containers stand on: `outrider/<its name>`, made by `docker/<its name>.Dockerfile`. */
export interface BaseImage {
  /** What begins the entry point, as process 1; without it that is the container itself. */
  readonly init: readonly string[]
  /** Whether there is a shell, for the programs that need one. */
  readonly hasShell: boolean
}

export const baseImages = {
  /** Node, and nothing else that could be run. */
  base: { init: [], hasShell: false },
  /** Besides, git over HTTPS and SSH, GnuPG and what scripts call. Tini reaps also where it is not process 1. */
  git: { init: ['/usr/bin/tini', '-s', '--'], hasShell: true },
} as const satisfies Readonly<Record<string, BaseImage>>

export type BaseName = keyof typeof baseImages
