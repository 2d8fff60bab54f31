import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startContainer } from '@outrider/core/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { makeRepository } from '../../git-mirror/src/git-servers-test-support.ts'
import container from './container.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'outrider-hook-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

it.each([
  ['exechook', 'GITSYNC_EXECHOOK_COMMAND'],
  ['pre-publish-exechook', 'GITSYNC_PRE_PUBLISH_EXECHOOK_COMMAND'],
])('the log has what the %s wrote before it failed, without secrets', async (hook, variable) => {
  const site = await makeRepository(join(directory, 'site.git'))
  await site.commit({ file: 'text' })
  const script = join(directory, 'hook')
  await writeFile(script, '#!/bin/sh\necho the reason; echo its-password >&2; exit 3\n')
  await chmod(script, 0o755)
  await using started = await startContainer(container, {
    GITSYNC_REPO: 'http://127.0.0.1:1/site.git',
    GITSYNC_TRIGGER_BIND: '',
    GITSYNC_ROOT: join(directory, 'root'),
    GITSYNC_USERNAME: 'reader',
    GITSYNC_PASSWORD: 'its-password',
    GITSYNC_GIT_CONFIG: `url.${site.directory}.insteadOf:http://127.0.0.1:1/site.git`,
    [variable]: script,
  })
  await expect
    .poll(() => started.events, { timeout: 10_000 })
    .toContainEqual(
      expect.objectContaining({
        msg: 'hook failed',
        hook,
        error: expect.stringContaining('ended with exit code 3'),
        output: 'the reason\n[redacted]',
      }),
    )
})
