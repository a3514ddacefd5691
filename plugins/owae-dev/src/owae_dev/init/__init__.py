"""`owae init`: from data to a config that trains.

`places` finds the source for a path or a name, `opening` opens it, `facts` looks at its examples, `recipe` chooses levels, weights and
training, `trial` takes three steps of each training, and `text` words the file. Start reading at `write`.
"""
