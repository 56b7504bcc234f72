import { roundUp } from './io.js'
import type { Alignment } from './data-files.js'
import type { Job } from './job.js'

/** Small neighbours go together up to this; larger pieces go alone. */
const GROUP_BYTES_MAX = 1024 * 1024
/** What passes through the staging memory at a time. */
export const STAGED_BYTES_MAX = 1024 * 1024

/** A part of an object that lies in one file: first bytes that the device moves itself, then staged ones. */
export interface Segment {
  readonly job: Job
  /** In the range of the tier. */
  readonly offset: number
  readonly objectOffset: number
  readonly directBytes: number
  /** In whole blocks; the object may end before. */
  readonly stagedBytes: number
}

/** Neighbours on the disk, moved by one operation. */
export class Group {
  readonly segments: Segment[] = []
  readonly offset: number
  deviceBytes = 0
  stagedBytes = 0

  constructor(offset: number) {
    this.offset = offset
  }

  static of(segment: Segment): Group {
    const group = new Group(segment.offset)
    group.add(segment)
    return group
  }

  add(segment: Segment): void {
    this.segments.push(segment)
    this.deviceBytes += segment.directBytes + segment.stagedBytes
    this.stagedBytes += segment.stagedBytes
  }
}

export interface GroupLayout {
  readonly fileBytes: number
  readonly alignment: Alignment
}

/** Cuts the jobs into parts, and puts together what lies together. */
export function groupsOf(jobs: readonly Job[], layout: GroupLayout): Group[] {
  const groups: Group[] = []
  let last: Group | undefined
  for (const job of jobs) {
    const directBytes = job.isDirect ? floorTo(job.byteLength, layout.alignment.lengthBytes) : 0
    const wholeBytes = roundUp(job.byteLength, layout.alignment.lengthBytes)
    for (let done = 0; done < wholeBytes;) {
      const segment = segmentAt(job, done, directBytes, wholeBytes, layout.fileBytes)
      const bytes = segment.directBytes + segment.stagedBytes
      if (last == null || !joins(last, segment, bytes, layout.fileBytes))
        groups.push((last = new Group(segment.offset)))
      last.add(segment)
      job.openParts++
      done += bytes
    }
  }
  return groups
}

function segmentAt(
  job: Job,
  done: number,
  directBytes: number,
  wholeBytes: number,
  fileBytes: number,
): Segment {
  const offset = job.offset + done
  const room = fileBytes - (offset % fileBytes)
  const direct = Math.min(Math.max(0, directBytes - done), room)
  const staged = Math.min(wholeBytes - done - direct, room - direct, STAGED_BYTES_MAX)
  return {
    job,
    offset,
    objectOffset: done,
    directBytes: direct,
    stagedBytes: direct < directBytes - done ? 0 : staged,
  }
}

function joins(group: Group, segment: Segment, bytes: number, fileBytes: number): boolean {
  return (
    group.offset + group.deviceBytes === segment.offset &&
    segment.offset % fileBytes !== 0 &&
    group.deviceBytes + bytes <= GROUP_BYTES_MAX &&
    group.segments.at(-1)!.job.batch === segment.job.batch
  )
}

const floorTo = (bytes: number, unit: number): number => bytes - (bytes % unit)

/** Bytes of the object in the staged part of a segment. */
export const stagedObjectBytes = ({ job, objectOffset, directBytes, stagedBytes }: Segment): number =>
  Math.min(stagedBytes, job.byteLength - objectOffset - directBytes)
