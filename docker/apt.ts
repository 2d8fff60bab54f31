import { run } from './command.ts'

/** The format that makes `apt-get indextargets` print what {@link sourcesFor} reads. */
const INDEX_FORMAT = '$(ORIGIN)|$(LABEL)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)'

/**
 * The lines of a sources.list for one release of Debian (`bookworm`), from the mirrors that a machine of any release of
 * Debian uses itself, so that nothing here names a mirror. Updates and security fixes are included where the machine
 * has them too. No lines when the machine has no Debian mirror, or has not yet fetched its lists.
 */
export function sourcesFor(release: string, indexTargets: string): string[] {
  const lines = new Set<string>()
  for (const row of indexTargets.split('\n')) {
    const [origin, label, suite, component, uri] = row.split('|')
    if (origin !== 'Debian' || component !== 'main' || suite === undefined || uri === undefined) continue
    const part = label === 'Debian-Security' ? '-security' : suite.endsWith('-updates') ? '-updates' : ''
    lines.add(`deb ${uri} ${release}${part} main`)
  }
  return [...lines]
}

/**
 * The settings by which apt accepts a mirror that lags behind, as mirrors of a fixed day do, in the syntax of apt.conf.
 * What a machine needs to use its mirror, an image that uses the same mirror needs too.
 */
export function mirrorSettings(aptConfig: string): string[] {
  return aptConfig.split('\n').filter((line) => /^Acquire::Check-(Valid-Until|Date) /.test(line))
}

/**
 * This machine's mirrors and the settings for them, see {@link sourcesFor} and {@link mirrorSettings}.
 * @throws Error when apt is not there or knows no Debian mirror
 */
export async function machineMirrors(release: string): Promise<{ sources: string[]; settings: string[] }> {
  const targets = await run('apt-get', ['indextargets', '--format', INDEX_FORMAT, 'Created-By: Packages'])
  const sources = sourcesFor(release, targets)
  if (sources.length === 0) {
    throw new Error(`apt knows no mirror of Debian: run apt-get update, or add a mirror to its sources`)
  }
  return { sources, settings: mirrorSettings(await run('apt-config', ['dump'])) }
}
