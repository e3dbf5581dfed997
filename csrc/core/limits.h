/* Named limits for every number that a remote sends. Each stands in protocol-spec/limits.md under the same name. */
#ifndef PS_LIMITS_H
#define PS_LIMITS_H

#define PS_LIMIT_NAME 4095            /* bytes of a path within the transfer (MAXPATHLEN - 1) */
#define PS_LIMIT_LINK_TARGET 4095     /* bytes of a symlink's target */
#define PS_LIMIT_LIST_ENTRIES 100000000  /* entries of one transfer */
#define PS_LIMIT_LIST_ARENA 0x7fffffffu  /* bytes of names of one sub-list */
#define PS_LIMIT_ID_NAME 255          /* bytes of a user's or group's name */
#define PS_LIMIT_IDS 1000000          /* users or groups of one transfer */
#define PS_LIMIT_BLOCK_LENGTH 131072  /* bytes of a block, protocol 30 and later */
#define PS_LIMIT_OLD_BLOCK_LENGTH 16777216 /* the same before protocol 30: rsync's rule goes beyond it from 256 TiB on */
#define PS_LIMIT_CHECKSUM 64          /* bytes of the longest digest */
#define PS_LIMIT_BLOCKS 67108864      /* blocks of one file */
#define PS_LIMIT_VSTRING 4095         /* bytes of a vstring */
#define PS_LIMIT_MESSAGE 65536        /* bytes of a multiplexed message other than data */
#define PS_LIMIT_FRAME 16777215       /* bytes of a multiplexed data frame (24 bits) */
#define PS_LIMIT_RULES_FILE 16777216  /* bytes of one per-directory merge file */

#endif
