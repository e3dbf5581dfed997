/* The files of -H by device and inode number, each with the number that it was first given. */
#ifndef PS_INODES_H
#define PS_INODES_H
#include "core/bytes.h"

typedef struct inode_slot {
    u64 dev, ino;
    i32 number; /* -1: free */
} inode_slot;

typedef struct inode_table { /* zeroed: empty */
    inode_slot *slots;
    u32 count, cap;
} inode_table;

/* The number of a file, `number` itself when it is new. -1: memory. */
i32 inodes_number(inode_table *t, u64 dev, u64 ino, i32 number);
void inodes_free(inode_table *t);
#endif
