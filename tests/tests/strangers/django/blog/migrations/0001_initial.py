operations = ["CREATE TABLE post"]
