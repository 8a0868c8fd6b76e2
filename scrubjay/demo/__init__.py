"""`scrubjay demo`: an ordinary boto3 client on a real cluster, with real data and real damage. Nothing here knows more of the store than its users do,
except where it flips a bit in a replica's file."""
