import { run } from '@outrider/core'
import container from './container.ts'

await run(container)
