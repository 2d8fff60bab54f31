import { buildImages } from '../../docker/images.ts'
import { docker } from '../support/docker.ts'

/** Images are built, and nothing of an earlier run is left, before and after. */
export default async function setup(): Promise<() => Promise<void>> {
  await sweep()
  await buildImages()
  return sweep
}

/** The Ryuk image, which would do this, cannot be had where no registry answers. */
async function sweep(): Promise<void> {
  const left = await docker('ps', '--all', '--quiet', '--filter', 'label=org.testcontainers=true')
  const ids = left.split('\n').filter((id) => id !== '')
  if (ids.length > 0) await docker('rm', '--force', '--volumes', ...ids)
}
