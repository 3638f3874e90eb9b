print("-- create_table(:posts)")
